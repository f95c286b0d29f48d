// Dashboards: the list of one's own and those shared with one's roles, and the one that the address names.

import { useState, type ReactNode } from "react";
import { asApiError, type ApiError } from "../api/error";
import { dashboards, type Entry } from "../api/shelf";
import { chooseText } from "../parts/file";
import { Icon } from "../parts/icon";
import { useLive, useNow } from "../parts/live";
import { Empty, Failed, Shown } from "../parts/state";
import { Filter, matching, Table, type TableColumn } from "../parts/table";
import { Instant } from "../parts/text";
import { go, usePlace } from "../router";
import { useSession } from "../session";
import { useSettings } from "../settings";
import { Head } from "../shell";
import { EMPTY, readBoard } from "./board";
import { DashboardPage } from "./dashboard";
import { KeepDialog } from "./keep";
import { Star } from "./star";

/** Of a file that is read; the server takes no larger document. */
const BYTES_MAX = 256 * 1024;

export default function Dashboards(): ReactNode {
  const { parameters } = usePlace();
  const id = parameters.get("id");
  return id === null ? <List /> : <DashboardPage key={id} id={id} />;
}

function List(): ReactNode {
  const { who } = useSession();
  const { starred } = useSettings();
  const [wanted, setWanted] = useState("");
  const [making, setMaking] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const now = useNow(10_000);
  const live = useLive((signal) => dashboards.list(signal), [who.username], 30_000);
  const columns: TableColumn<Entry>[] = [
    { key: "star", title: "★", width: 52, text: (one) => (starred.includes(one.id) ? "close at hand" : ""), value: (one) => (starred.includes(one.id) ? 0 : 1), show: (one) => <Star id={one.id} name={one.name} /> },
    { key: "name", title: "Name", least: 220, text: (one) => one.name },
    { key: "description", title: "About", text: (one) => one.description ?? "" },
    { key: "owner", title: "Owner", yields: 3, width: 130, text: (one) => (one.owner === null ? "nobody any more" : one.owner === who.username ? "you" : one.owner) },
    { key: "shared", title: "Shared with", yields: 2, width: 180, text: (one) => (one.sharedWith.length === 0 ? "nobody" : one.sharedWith.join(", ")) },
    { key: "updated", title: "Changed", width: 130, text: (one) => one.updated, show: (one) => <Instant at={one.updated} relative={now} /> },
    { key: "by", title: "By", yields: 1, width: 130, text: (one) => (one.updatedBy === who.username ? "you" : one.updatedBy) },
  ];
  const importIt = async (): Promise<void> => {
    setError(null);
    const file = await chooseText("application/json,.json", BYTES_MAX);
    if (file === null) return;
    try {
      let said: Record<string, unknown>;
      try {
        said = JSON.parse(file.text) as Record<string, unknown>;
      } catch {
        said = {};
      }
      // A file of ours has the words beside the content; a content alone is one too.
      const content = readBoard(typeof said.content === "object" && said.content !== null ? said.content : said);
      const name = typeof said.name === "string" && said.name.trim() !== "" ? said.name : file.name.replace(/\.json$/i, "");
      const made = await dashboards.make({ name, description: typeof said.description === "string" ? said.description : null, sharedWith: [], content });
      go("/dashboards", { id: made.id });
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  const rank = (one: Entry): number => (starred.includes(one.id) ? 0 : 1);
  return (
    <div className="page fill">
      <Head title="Dashboards" about="Statements drawn side by side, kept fresh. Everybody sees in them what they themselves may see.">
        <Filter value={wanted} onChange={setWanted} label="Find a dashboard" />
        <button type="button" onClick={() => void importIt()}>
          <Icon name="raise" size={15} /> Import
        </button>
        <button type="button" className="primary" onClick={() => setMaking(true)}>
          <Icon name="add" /> New dashboard
        </button>
      </Head>
      {error !== null && <Failed error={error} />}
      <Shown live={live}>
        {(all) =>
          all === null ? (
            <Empty title="This server keeps no dashboards">It is older than this page.</Empty>
          ) : (
            <section className="panel column" aria-label="Dashboards">
              <Table
                label="Dashboards"
                rows={matching([...all].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name)), columns, wanted)}
                columns={columns}
                heightMax={2000}
                onOpen={(one) => go("/dashboards", { id: one.id })}
                empty={<Empty title={all.length === 0 ? "No dashboards yet" : "None like that"}>{all.length === 0 && "Make one here, or add a result of the query page to a new one."}</Empty>}
              />
            </section>
          )
        }
      </Shown>
      {making && (
        <KeepDialog
          title="New dashboard"
          words={{ name: "", description: null, sharedWith: [] }}
          action="Make it"
          onClose={() => setMaking(false)}
          onKeep={async (words) => {
            const made = await dashboards.make({ ...words, content: EMPTY });
            go("/dashboards", { id: made.id, edit: "1" });
          }}
        />
      )}
    </div>
  );
}
