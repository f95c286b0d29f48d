// A page that is one list: its head, what finds an entry, and the entries as a table that is kept fresh.

import { useState, type ReactNode } from "react";
import { Head } from "../shell";
import type { Live } from "../parts/live";
import { Shown } from "../parts/state";
import { Filter, matching, Table, type Sort, type TableColumn } from "../parts/table";

interface ListPageProps<R> {
  title: string;
  about: ReactNode;
  /** What the input for finding one says. */
  find: string;
  live: Live<R[]>;
  columns: TableColumn<R>[];
  sort?: Sort;
  onOpen?: (row: R) => void;
  /** Shown when there is nothing; it is told whether there are entries that were not looked for. */
  empty?: (others: boolean) => ReactNode;
  /** What can be done, beside what finds one. */
  actions?: ReactNode;
  /** Above the list. */
  notice?: ReactNode;
  /** Windows. */
  children?: ReactNode;
}

export function ListPage<R>({ title, about, find, live, columns, sort, onOpen, empty, actions, notice, children }: ListPageProps<R>): ReactNode {
  const [wanted, setWanted] = useState("");
  return (
    <div className="page fill">
      <Head title={title} about={about}>
        <Filter value={wanted} onChange={setWanted} label={find} />
        {actions}
      </Head>
      {notice}
      <Shown live={live}>
        {(all) => (
          <section className="panel column" aria-label={title}>
            <Table label={title} rows={matching(all, columns, wanted)} columns={columns} sort={sort} heightMax={2000} onOpen={onOpen === undefined ? undefined : (row) => onOpen(row)} empty={empty?.(all.length > 0)} />
          </section>
        )}
      </Shown>
      {children}
    </div>
  );
}
