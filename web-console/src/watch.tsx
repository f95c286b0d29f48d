// What the whole page keeps an eye on: which alerts fire, and whether this server has alerts and dashboards at all. An older one
// does not, and its pages are then not shown.

import { createContext, useContext, useEffect, useState, type ReactNode } from "react";
import { alerts as askAlerts, type Alert } from "./api/alerts";
import { asApiError } from "./api/error";
import { dashboards } from "./api/shelf";
import { mayAlert } from "./api/session";
import { useLive } from "./parts/live";
import { useSession } from "./session";

export interface Watch {
  /** Whether this server has them, and this person may see them; `null` until it is known. */
  offers: { dashboards: boolean | null; alerts: boolean | null };
  /** `null` where there are none to be seen, by this person or on this server. */
  alerts: Alert[] | null;
  refresh: () => void;
}

const Context = createContext<Watch>({ offers: { dashboards: null, alerts: null }, alerts: null, refresh: () => undefined });

export const useWatch = (): Watch => useContext(Context);

const EVERY = 20_000;

export function WatchGate({ children }: { children: ReactNode }): ReactNode {
  const { who } = useSession();
  const [boards, setBoards] = useState<boolean | null>(null);
  const sees = mayAlert(who, "READ");
  // What the server does not have or does not show is not asked for again.
  const [served, setServed] = useState(true);
  const live = useLive(
    async (signal): Promise<Alert[] | null> => {
      if (!sees || !served) return null;
      try {
        const found = await askAlerts(signal);
        if (found === null) setServed(false);
        return found;
      } catch (thrown) {
        if (asApiError(thrown).kind !== "denied") throw thrown;
        setServed(false);
        return null;
      }
    },
    [who.username, sees],
    sees && served ? EVERY : null,
  );
  useEffect(() => {
    const stop = new AbortController();
    dashboards.list(stop.signal).then(
      (list) => setBoards(list !== null),
      (thrown) => {
        if (!stop.signal.aborted) setBoards(asApiError(thrown).kind === "denied" ? false : null);
      },
    );
    return () => stop.abort();
  }, [who.username]);
  const offers = { dashboards: boards, alerts: !sees || !served ? false : live.data === null ? null : true };
  return <Context value={{ offers, alerts: live.data, refresh: live.refresh }}>{children}</Context>;
}
