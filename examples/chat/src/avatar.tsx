// A face for everybody: their picture, or their initials on a colour of their own.

import type { Person } from "@dormouse/client/channel";
import type { CSSProperties } from "react";

const HUES = 360;

/** Far from a divisor of 360: names that differ little get colours that differ much. */
const SPREAD = 31;

export function Avatar({ userId, username, avatarUrl }: Person) {
  if (avatarUrl != null) return <img className="avatar" src={avatarUrl} alt="" loading="lazy" />;
  return (
    <span className="avatar" style={{ "--hue": hueOf(userId) } as CSSProperties} aria-hidden="true">
      {initialsOf(username)}
    </span>
  );
}

function hueOf(userId: string): number {
  let hue = 0;
  for (const character of userId) hue = (hue * SPREAD + (character.codePointAt(0) ?? 0)) % HUES;
  return hue;
}

function initialsOf(username: string): string {
  const words = username.trim().split(/\s+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toUpperCase();
}
