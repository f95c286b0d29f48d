// Keeping a document on the server: its name, its description, the roles that it is shared with, and what to do when somebody else
// has changed it meanwhile. For saved queries and dashboards alike.

import { useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { roles as allRoles } from "../api/security";
import { may } from "../api/session";
import type { Draft, Kept, Shelf } from "../api/shelf";
import { Dialog } from "../parts/dialog";
import { useLive } from "../parts/live";
import { Failed } from "../parts/state";
import { Instant, Name } from "../parts/text";
import { useSession } from "../session";

export type Words = Pick<Draft<unknown>, "name" | "description" | "sharedWith">;

/** Own roles, and all of them for who may see all. */
function Roles({ chosen, onChange }: { chosen: string[]; onChange: (roles: string[]) => void }): ReactNode {
  const { who } = useSession();
  const all = may(who, "SECURITY", "SECURITY", "READ");
  const live = useLive(async (signal) => (all ? (await allRoles(signal)).map((one) => one.name) : []), [who.username]);
  const names = [...new Set([...chosen, ...who.roles, ...(live.data ?? [])])].sort((a, b) => a.localeCompare(b));
  return (
    <fieldset>
      <legend>Shared with roles</legend>
      {names.length === 0 ? (
        <span className="muted">You have no role to share it with.</span>
      ) : (
        <div className="role-list">
          {names.map((name) => (
            <label key={name} className="check">
              <input type="checkbox" checked={chosen.includes(name)} onChange={(event) => onChange(event.target.checked ? [...chosen, name] : chosen.filter((one) => one !== name))} />
              <Name>{name}</Name>
            </label>
          ))}
        </div>
      )}
      <small className="muted">Who has one of these roles may open it. What they see in it is what they themselves may see.</small>
    </fieldset>
  );
}

/** Asks for the words of a document, and keeps it. */
export function KeepDialog({ title, words, action, onKeep, onClose, children }: { title: string; words: Words; action: string; onKeep: (words: Words) => Promise<void>; onClose: () => void; children?: ReactNode }): ReactNode {
  const [name, setName] = useState(words.name);
  const [description, setDescription] = useState(words.description ?? "");
  const [shared, setShared] = useState(words.sharedWith);
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const ready = name.trim() !== "" && !busy;
  const keep = async (): Promise<void> => {
    if (!ready) return;
    setBusy(true);
    setError(null);
    try {
      await onKeep({ name: name.trim(), description: description.trim() === "" ? null : description.trim(), sharedWith: shared });
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      foot={
        <>
          <button type="button" onClick={onClose}>
            Not now
          </button>
          <button type="button" className="primary" disabled={!ready} onClick={() => void keep()}>
            {busy ? "Working…" : action}
          </button>
        </>
      }
    >
      <label className="field">
        <span>Name</span>
        <input value={name} maxLength={200} onChange={(event) => setName(event.target.value)} onKeyDown={(event) => (event.key === "Enter" ? void keep() : undefined)} autoComplete="off" data-first />
      </label>
      <label className="field">
        <span>Description</span>
        <input value={description} maxLength={2000} onChange={(event) => setDescription(event.target.value)} placeholder="what it shows, and for whom" autoComplete="off" />
      </label>
      <Roles chosen={shared} onChange={setShared} />
      {children}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}

export interface Clash<C> {
  /** As it is now. */
  theirs: Kept<C>;
  mine: Draft<C>;
}

/** Keeps a change, or answers with what stands in its way if somebody else was first. */
export async function putOr<C>(shelf: Shelf<C>, id: string, version: number, mine: Draft<C>): Promise<{ kept: Kept<C> } | { clash: Clash<C> }> {
  try {
    return { kept: await shelf.put(id, version, mine) };
  } catch (thrown) {
    if (asApiError(thrown).status !== 409) throw thrown;
    const theirs = await shelf.get(id);
    // Without another version it was refused for want of room.
    if (theirs.version === version) throw thrown;
    return { clash: { theirs, mine } };
  }
}

/** Somebody was first: theirs, mine over it, or both. */
export function ClashDialog<C>({ shelf, clash, what, onClose, onDone }: { shelf: Shelf<C>; clash: Clash<C>; what: string; onClose: () => void; onDone: (kept: Kept<C>) => void }): ReactNode {
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const act = async (how: () => Promise<Kept<C>>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      onDone(await how());
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  const { theirs, mine } = clash;
  return (
    <Dialog
      title={`Somebody else has changed this ${what}`}
      onClose={onClose}
      foot={
        <>
          <button type="button" disabled={busy} onClick={() => void act(async () => theirs)}>
            Take theirs
          </button>
          <button type="button" disabled={busy} onClick={() => void act(() => shelf.make({ ...mine, name: `${mine.name} (copy)`, sharedWith: [] }))}>
            Keep mine as a copy
          </button>
          <button type="button" className="primary" disabled={busy} onClick={() => void act(() => shelf.put(theirs.id, theirs.version, mine))}>
            Put mine over it
          </button>
        </>
      }
    >
      <div className="prose">
        <p>
          <bdi>{theirs.updatedBy}</bdi> changed <bdi>{theirs.name}</bdi> at <Instant at={theirs.updated} />, after you had opened it. Nothing of yours is lost yet.
        </p>
        <p className="muted">Theirs: what you changed here is dropped. Mine over it: what they changed is dropped. A copy leaves both.</p>
      </div>
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}
