// What stands in a window about one thing: panes behind tabs, of which one is asked for when it is opened, and documents as text.

import * as Tabs from "@radix-ui/react-tabs";
import type { ReactNode } from "react";
import { useLive } from "./live";
import { Shown } from "./state";

export interface Pane {
  key: string;
  title: string;
  show: () => ReactNode;
}

export function Panes({ label, panes, first }: { label: string; panes: Pane[]; first?: string }): ReactNode {
  return (
    <Tabs.Root defaultValue={first ?? panes[0]?.key}>
      <Tabs.List className="tabs" aria-label={label}>
        {panes.map(({ key, title }) => (
          <Tabs.Trigger key={key} value={key}>
            {title}
          </Tabs.Trigger>
        ))}
      </Tabs.List>
      {panes.map(({ key, show }) => (
        <Tabs.Content key={key} value={key} className="tab-content">
          {show()}
        </Tabs.Content>
      ))}
    </Tabs.Root>
  );
}

/** Characters of a document that are laid out: the browser would be at work for seconds on more. */
const MOST = 300_000;

export function Document({ of, className = "" }: { of: unknown; className?: string }): ReactNode {
  const text = typeof of === "string" ? of : (JSON.stringify(of, null, 2) ?? "");
  return (
    <>
      <pre className={`document ${className}`.trimEnd()}>{text.slice(0, MOST)}</pre>
      {text.length > MOST && <p className="muted">The first {MOST.toLocaleString("en-US")} of {text.length.toLocaleString("en-US")} characters are shown.</p>}
    </>
  );
}

/** A document that is asked for when it is seen. */
export function LiveDocument({ id, load, everyMs = null }: { id: string; load: (id: string, signal: AbortSignal) => Promise<unknown>; everyMs?: number | null }): ReactNode {
  const live = useLive((signal) => load(id, signal), [id], everyMs);
  return <Shown live={live}>{(of) => <Document of={of} />}</Shown>;
}
