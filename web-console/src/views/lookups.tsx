// Lookups: tables that turn keys into names in queries; made, changed and deleted here as documents.

import { lazy, Suspense, useState, type ReactNode } from "react";
import { deleteLookup, initialiseLookups, lookups, putLookup, type Lookup } from "../api/cluster";
import { may, mayAny } from "../api/session";
import { useAct } from "../parts/act";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { ListPage } from "./list";
import { Empty, Failed, Loading } from "../parts/state";
import type { TableColumn } from "../parts/table";
import { useSession } from "../session";

const Editor = lazy(() => import("../parts/editor"));

const columns: TableColumn<Lookup>[] = [
  { key: "name", title: "Name", text: (one) => one.name },
  { key: "tier", title: "Tier", width: 130, yields: 1, text: (one) => one.tier },
  { key: "type", title: "Kind", width: 130, text: (one) => String(one.extractor.type ?? "?") },
  { key: "entries", title: "Holds", text: (one) => (typeof one.extractor.map === "object" && one.extractor.map !== null ? plural(Object.keys(one.extractor.map).length, "entry", "entries") : "from elsewhere") },
  { key: "version", title: "Version", width: 140, text: (one) => one.version },
];

export default function Lookups(): ReactNode {
  const { who } = useSession();
  const [open, setOpen] = useState<Lookup | "new" | null>(null);
  const [question, setQuestion] = useState<Question | null>(null);
  const live = useLive(lookups, [], 15_000);
  return (
    <ListPage
      title="Lookups"
      about="Keys and what they stand for, for LOOKUP(…) in queries."
      find="Find a lookup"
      live={live}
      columns={columns}
      onOpen={setOpen}
      empty={(others) => <Empty title={others ? "None like that" : "No lookups yet"}>{!others && "A lookup names what your data holds as codes: countries, products, teams."}</Empty>}
      actions={
        mayAny(who, "LOOKUP", "WRITE") && (
          <button type="button" className="primary" onClick={() => setOpen("new")}>
            <Icon name="add" /> New lookup
          </button>
        )
      }
    >
      {open !== null && (
        <Edit
          lookup={open === "new" ? null : open}
          first={live.data?.length === 0}
          onClose={() => setOpen(null)}
          onDone={live.refresh}
          onDelete={(lookup) =>
            setQuestion({
              title: `Delete the lookup ${lookup.name}?`,
              consequence: "Queries that name it fail from the next moment on. It has to be made anew to come back.",
              action: "Delete it",
              grave: true,
              type: lookup.name,
              act: () => deleteLookup(lookup.tier, lookup.name),
            })
          }
        />
      )}
      {question !== null && (
        <Confirm
          question={question}
          onClose={() => setQuestion(null)}
          onDone={() => {
            setOpen(null);
            live.refresh();
          }}
        />
      )}
    </ListPage>
  );
}

function Edit({ lookup, first, onClose, onDone, onDelete }: { lookup: Lookup | null; first: boolean; onClose: () => void; onDone: () => void; onDelete: (lookup: Lookup) => void }): ReactNode {
  const { who } = useSession();
  const [name, setName] = useState(lookup?.name ?? "");
  const [tier, setTier] = useState(lookup?.tier ?? "__default");
  const [text, setText] = useState(JSON.stringify(lookup?.extractor ?? { type: "map", map: { DE: "Germany", FR: "France" } }, null, 2));
  const { busy, error, run } = useAct();
  const writes = lookup === null ? mayAny(who, "LOOKUP", "WRITE") : may(who, "LOOKUP", lookup.name, "WRITE");
  let extractor: unknown = null;
  try {
    extractor = JSON.parse(text);
  } catch {
    extractor = null;
  }
  const save = async (): Promise<void> => {
    const done = await run(async () => {
      if (lookup === null && first) await initialiseLookups();
      // Versions go up: the same one would not replace what is there.
      await putLookup(tier, name, new Date().toISOString(), extractor);
    });
    if (!done) return;
    onDone();
    onClose();
  };
  return (
    <Dialog
      kind="side"
      title={lookup === null ? "New lookup" : <bdi>{lookup.name}</bdi>}
      onClose={onClose}
      foot={
        writes ? (
          <>
            {lookup !== null && (
              <button type="button" onClick={() => onDelete(lookup)}>
                Delete…
              </button>
            )}
            <span className="grow" />
            {lookup === null && (
              <button type="button" onClick={onClose}>
                Not now
              </button>
            )}
            <button type="button" className="primary" disabled={busy || name === "" || extractor === null} onClick={() => void save()}>
              {lookup === null ? "Make it" : "Save"}
            </button>
          </>
        ) : undefined
      }
    >
      {lookup === null && (
        <div className="pair">
          <label className="field">
            <span>Name</span>
            <input value={name} onChange={(event) => setName(event.target.value)} spellCheck={false} data-first />
          </label>
          <label className="field">
            <span>Tier</span>
            <input value={tier} onChange={(event) => setTier(event.target.value)} spellCheck={false} />
          </label>
        </div>
      )}
      <div style={{ height: "50vh", border: "1px solid var(--line)", borderRadius: 6, overflow: "hidden", flex: "none" }}>
        <Suspense fallback={<Loading />}>
          <Editor value={text} onChange={setText} language="json" label="Document of the lookup" readOnly={!writes} />
        </Suspense>
      </div>
      {extractor === null && <p className="wrong">This is not JSON yet.</p>}
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}
