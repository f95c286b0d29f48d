// Windows over the page: the browser's own dialog, which keeps the keyboard inside, closes by Escape and gives the focus back.
// `Confirm` is how everything is asked that cannot be taken back.

import { useId, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { useAct } from "./act";
import { Icon } from "./icon";
import { Failed } from "./state";

interface DialogProps {
  title: ReactNode;
  onClose: () => void;
  children: ReactNode;
  foot?: ReactNode;
  /** `side` leaves the list beside it in sight. */
  kind?: "centre" | "side";
  wide?: boolean;
}

export function Dialog({ title, onClose, children, foot, kind = "centre", wide = false }: DialogProps): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const name = useId();
  useLayoutEffect(() => {
    const shown = dialog.current;
    if (shown === null || shown.open) return;
    shown.showModal();
    // What asks for it has the keyboard, or else the window: not the button that closes it, which comes first.
    (shown.querySelector<HTMLElement>("[data-first]") ?? shown).focus();
    // A window that is taken away gives the focus back only if it is closed while it is still there.
    return () => shown.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={`dialog ${kind}${wide ? " wide" : ""}`}
      aria-labelledby={name}
      tabIndex={-1}
      onClose={() => {
        // In development all effects run twice: the window is then open again when it is told of its first end.
        if (dialog.current?.open !== true) onClose();
      }}
      onClick={(event) => {
        // A click on the backdrop is one on the dialog itself.
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      <div className="dialog-frame">
        <header>
          <h2 id={name}>{title}</h2>
          <button type="button" className="bare" aria-label="Close" onClick={() => dialog.current?.close()}>
            <Icon name="close" />
          </button>
        </header>
        <div className="dialog-body">{children}</div>
        {foot !== undefined && <footer>{foot}</footer>}
      </div>
    </dialog>
  );
}

export interface Question {
  title: string;
  /** What will be, and what cannot be taken back. */
  consequence: ReactNode;
  /** The verb on the button. */
  action: string;
  grave?: boolean;
  /** Has to be typed before the button can be pressed. */
  type?: string;
  act: () => Promise<unknown>;
}

export function Confirm({ question, onClose, onDone }: { question: Question; onClose: () => void; onDone?: () => void }): ReactNode {
  const [typed, setTyped] = useState("");
  const { busy, error, run } = useAct();
  const ready = question.type === undefined || typed === question.type;
  const act = async (): Promise<void> => {
    if (!(await run(question.act))) return;
    onDone?.();
    onClose();
  };
  return (
    <Dialog
      title={question.title}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Keep it as it is
          </button>
          <button type="button" className={question.grave === true ? "grave" : "primary"} disabled={!ready || busy} onClick={() => void act()}>
            {busy ? "Working…" : question.action}
          </button>
        </>
      }
    >
      <div className="prose">{question.consequence}</div>
      {question.type !== undefined && (
        <label className="field">
          <span>
            Type <bdi className="mono">{question.type}</bdi> to go on
          </span>
          <input value={typed} onChange={(event) => setTyped(event.target.value)} autoComplete="off" spellCheck={false} data-first />
        </label>
      )}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}
