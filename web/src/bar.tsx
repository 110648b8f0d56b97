// A share as a bar; the number stands beside it.
export const Bar = ({ share }: { share: number | null }) => (
    <svg class="share-bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width={100 * Math.min(1, Math.max(0, share ?? 0))} height="8" />
    </svg>
);
