// Who looks at something, this page included. Without tokens everybody is a guest, and every tab another one.

import { usePresence } from "@dormouse/client/react";
import type { CSSProperties } from "react";

/** More dots say nothing more. */
const DOTS_MAX = 5;

const HUES = 360;

/** FNV-1a: ids that differ little get colours that differ much. */
const HASH_BASIS = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

interface ViewersProps {
  readonly kind: "counter" | "note";
  readonly id: string;
  readonly isOn?: boolean;
}

/** A dot for each who looks, and their number. Nothing for who is alone. */
export function Viewers({ kind, id, isOn = true }: ViewersProps) {
  const { users, total } = usePresence(kind, id, { enabled: isOn });
  if (total < 2) return null;
  return (
    <span className="viewers soft" data-testid="viewers" title={users.map(({ username }) => username).join(", ")}>
      <span className="viewer-dots" aria-hidden="true">
        {users.slice(0, DOTS_MAX).map(({ userId }) => (
          <i key={userId} style={{ "--hue": hueOf(userId) } as CSSProperties} />
        ))}
      </span>
      {total} viewing
    </span>
  );
}

function hueOf(userId: string): number {
  let hash = HASH_BASIS;
  for (const character of userId) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), HASH_PRIME);
  return (hash >>> 0) % HUES;
}
