// A result of the query page as a panel of a dashboard: of one that there is, or of a new one.

import { useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { dashboards } from "../api/shelf";
import { Dialog } from "../parts/dialog";
import { useLive } from "../parts/live";
import { Failed, Shown } from "../parts/state";
import { go } from "../router";
import { EMPTY, KIND_TITLES, newId, PANEL_KINDS, PANELS_MAX, readBoard, type Board, type PanelKind } from "./board";
import { joined } from "./layout";

function withPanel(board: Board, panel: { title: string; kind: PanelKind; query: string }): Board {
  const size = panel.kind === "number" ? { w: 3, h: 2 } : panel.kind === "line" || panel.kind === "table" ? { w: 8, h: 5 } : { w: 4, h: 5 };
  return { ...board, panels: joined(board.panels, { id: newId(board.panels), x: 0, y: 0, ...size, unit: null, ...panel }) };
}

export function AddPanel({ text, kind: first, onClose }: { text: string; kind: PanelKind; onClose: () => void }): ReactNode {
  const live = useLive((signal) => dashboards.list(signal), []);
  const [to, setTo] = useState<string | null>(null);
  const [name, setName] = useState("");
  const [title, setTitle] = useState("");
  const [kind, setKind] = useState<PanelKind>(first);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const own = (live.data ?? []).filter((one) => one.mayEdit);
  const chosen = to ?? own[0]?.id ?? "new";
  const panel = { title: title.trim(), kind, query: text.trim().replace(/;$/, "") };

  const add = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      if (chosen === "new") {
        const made = await dashboards.make({ name: name.trim(), description: null, sharedWith: [], content: withPanel(EMPTY, panel) });
        return go("/dashboards", { id: made.id });
      }
      for (let attempt = 0; ; attempt += 1) {
        const kept = await dashboards.get(chosen);
        const board = readBoard(kept.content);
        if (board.panels.length >= PANELS_MAX) throw new Error(`${kept.name} has ${PANELS_MAX} panels already, which is as many as a dashboard may have.`);
        try {
          await dashboards.put(kept.id, kept.version, { name: kept.name, description: kept.description, sharedWith: kept.sharedWith, content: withPanel(board, panel) });
          return go("/dashboards", { id: kept.id });
        } catch (thrown) {
          // Who was first changed something else; a panel more fits beside it.
          if (asApiError(thrown).status !== 409 || attempt >= 2) throw thrown;
        }
      }
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title="Add to a dashboard"
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Not now
          </button>
          <button type="button" className="primary" disabled={busy || live.data === null || (chosen === "new" && name.trim() === "")} onClick={() => void add()}>
            {busy ? "Working…" : "Add it"}
          </button>
        </>
      }
    >
      <Shown live={live}>
        {() => (
          <>
            <label className="field">
              <span>Dashboard</span>
              <select value={chosen} onChange={(event) => setTo(event.target.value)}>
                {own.map((one) => (
                  <option key={one.id} value={one.id}>
                    {one.name}
                  </option>
                ))}
                <option value="new">A new one…</option>
              </select>
            </label>
            {chosen === "new" && (
              <label className="field">
                <span>Name of the dashboard</span>
                <input value={name} maxLength={200} onChange={(event) => setName(event.target.value)} autoComplete="off" />
              </label>
            )}
            <div className="pair">
              <label className="field">
                <span>Title of the panel</span>
                <input value={title} maxLength={200} onChange={(event) => setTitle(event.target.value)} autoComplete="off" data-first />
              </label>
              <label className="field">
                <span>Shown as</span>
                <select value={kind} onChange={(event) => setKind(event.target.value as PanelKind)}>
                  {PANEL_KINDS.map((one) => (
                    <option key={one} value={one}>
                      {KIND_TITLES[one]}
                    </option>
                  ))}
                </select>
              </label>
            </div>
            <p className="muted">
              The statement stays as it is. With <code>:from</code>, <code>:to</code> and <code>:grain</code> in it, it follows the time that the dashboard shows.
            </p>
          </>
        )}
      </Shown>
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}
