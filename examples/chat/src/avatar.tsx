// A face for everybody: their picture, or their initials on a colour of their own.

import type { Person } from "@dormouse/client/channel";
import type { CSSProperties } from "react";

const HUES = 360;

/** FNV-1a: names that differ little get colours that differ much. */
const HASH_BASIS = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

export function Avatar({ userId, username, avatarUrl }: Person) {
  if (avatarUrl != null) return <img className="avatar" src={avatarUrl} alt="" loading="lazy" />;
  return (
    <span className="avatar" style={{ "--hue": hueOf(userId) } as CSSProperties} aria-hidden="true">
      {initialsOf(username)}
    </span>
  );
}

function hueOf(userId: string): number {
  let hash = HASH_BASIS;
  for (const character of userId) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), HASH_PRIME);
  return (hash >>> 0) % HUES;
}

function initialsOf(username: string): string {
  const words = username.trim().split(/\s+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toUpperCase();
}
