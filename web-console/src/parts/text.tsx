// Names, instants and states as the page shows them. A name may be anything (long, of another direction, made to deceive): it is
// text, isolated from what stands around it, and cut where there is no room with the whole of it as its title.

import type { ReactNode } from "react";
import { useSettings } from "../settings";
import { ago, brief, instant } from "./format";

export function Name({ children, mono = false }: { children: string; mono?: boolean }): ReactNode {
  return (
    <bdi className={mono ? "name mono" : "name"} title={children}>
      {children}
    </bdi>
  );
}

/** An instant with its zone; `brief` to the second, for lists; with `relative`, how long before that it was. All of it is its title. */
export function Instant({ at, relative, brief: short = false }: { at: string | number | null | undefined; relative?: number; brief?: boolean }): ReactNode {
  const { zone } = useSettings();
  if (at === null || at === undefined) return <span className="muted">–</span>;
  const whole = instant(at, zone);
  const date = new Date(at);
  return (
    <time className="figures" dateTime={Number.isNaN(date.getTime()) ? undefined : date.toISOString()} title={whole}>
      {relative === undefined ? (short ? brief(at, zone) : whole) : ago(date.getTime(), relative)}
    </time>
  );
}

export type Tone = "good" | "warn" | "bad" | "quiet" | "accent";

/** A state has a word as well as a colour. */
export function Badge({ tone, children }: { tone: Tone; children: ReactNode }): ReactNode {
  return (
    <span className={`badge ${tone}`}>
      <span className="dot" aria-hidden="true" />
      {children}
    </span>
  );
}

export function toneOf(state: string): Tone {
  if (/^(RUNNING|SUCCESS|ok|READING|ACTIVE|IDLE)$/i.test(state)) return "good";
  if (/UNHEALTHY|FAILED|LOST|denied|failed|ERROR/i.test(state)) return "bad";
  if (/PENDING|WAITING|PUBLISHING|STOPPING|CREATING|CONNECTING|DISCOVERING|begun/i.test(state)) return "warn";
  return "quiet";
}
