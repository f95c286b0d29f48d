// Queries that are kept on the server: one's own, and those shared with one's roles.

import { useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { savedQueries, type Entry, type Kept, type SavedQuery } from "../api/shelf";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { useLive, useNow } from "../parts/live";
import { Empty, Failed, Shown } from "../parts/state";
import { Filter } from "../parts/table";
import { Instant, Name } from "../parts/text";
import { useSession } from "../session";
import { ClashDialog, KeepDialog, putOr, type Clash } from "./keep";

export function SavedQueries({ onOpen, onChanged, onClose }: { onOpen: (kept: Kept<SavedQuery>) => void; onChanged: (kept: Kept<SavedQuery>) => void; onClose: () => void }): ReactNode {
  const { who } = useSession();
  const now = useNow(30_000);
  const [wanted, setWanted] = useState("");
  const [question, setQuestion] = useState<Question | null>(null);
  const [naming, setNaming] = useState<Kept<SavedQuery> | null>(null);
  const [clash, setClash] = useState<Clash<SavedQuery> | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const live = useLive((signal) => savedQueries.list(signal), [who.username]);
  const text = wanted.trim().toLowerCase();
  const fits = (one: Entry): boolean => text === "" || [one.name, one.description ?? "", one.owner ?? "", ...one.sharedWith].some((each) => each.toLowerCase().includes(text));
  const fetch = async (id: string, use: (kept: Kept<SavedQuery>) => void): Promise<void> => {
    setError(null);
    try {
      use(await savedQueries.get(id));
    } catch (thrown) {
      setError(asApiError(thrown));
      live.refresh();
    }
  };
  return (
    <>
      <Dialog title="Saved queries" kind="side" onClose={onClose}>
        <Filter value={wanted} onChange={setWanted} label="Find a query" />
        {error !== null && <Failed error={error} />}
        <Shown live={live}>
          {(all) => {
            const shown = (all ?? []).filter(fits);
            if (shown.length === 0) return <Empty title={(all ?? []).length === 0 ? "No saved queries yet" : "None like that"}>{(all ?? []).length === 0 && "Save one on the query page, and share it with a role if others should find it here."}</Empty>;
            return (
              <ul className="saved">
                {shown.map((one) => (
                  <li key={one.id}>
                    <div className="grow">
                      <button type="button" className="link" onClick={() => void fetch(one.id, onOpen)}>
                        <Name>{one.name}</Name>
                      </button>
                      {one.description !== null && one.description !== "" && (
                        <div>
                          <bdi>{one.description}</bdi>
                        </div>
                      )}
                      <div className="muted small">
                        {one.owner === who.username ? "yours" : one.owner === null ? "nobody’s any more" : <bdi>{one.owner}</bdi>}
                        {one.sharedWith.length > 0 && `, shared with ${one.sharedWith.join(", ")}`}, changed <Instant at={one.updated} relative={now} />
                        {one.updatedBy !== one.owner && (
                          <>
                            {" "}
                            by <bdi>{one.updatedBy}</bdi>
                          </>
                        )}
                      </div>
                    </div>
                    {one.mayEdit && (
                      <span className="row">
                        <button type="button" className="link" aria-label={`Rename and share ${one.name}`} onClick={() => void fetch(one.id, setNaming)}>
                          Rename and share…
                        </button>
                        <button
                          type="button"
                          className="link"
                          aria-label={`Delete ${one.name}`}
                          onClick={() =>
                            setQuestion({
                              title: `Delete the saved query ${one.name}?`,
                              consequence: one.sharedWith.length === 0 ? "Sheets in which it is open keep its text." : `It is gone for everybody of ${one.sharedWith.join(", ")} too. Sheets in which it is open keep its text.`,
                              action: "Delete it",
                              grave: true,
                              act: () => savedQueries.remove(one.id, one.version),
                            })
                          }
                        >
                          Delete…
                        </button>
                      </span>
                    )}
                  </li>
                ))}
              </ul>
            );
          }}
        </Shown>
      </Dialog>
      {naming !== null && (
        <KeepDialog
          title="Rename and share"
          words={naming}
          action="Save"
          onClose={() => setNaming(null)}
          onKeep={async (words) => {
            const answer = await putOr(savedQueries, naming.id, naming.version, { ...words, content: naming.content });
            if ("clash" in answer) return setClash(answer.clash);
            onChanged(answer.kept);
            live.refresh();
          }}
        />
      )}
      {clash !== null && (
        <ClashDialog
          shelf={savedQueries}
          clash={clash}
          what="query"
          onClose={() => setClash(null)}
          onDone={(kept) => {
            onChanged(kept);
            live.refresh();
          }}
        />
      )}
      {question !== null && <Confirm question={question} onClose={() => setQuestion(null)} onDone={live.refresh} />}
    </>
  );
}
