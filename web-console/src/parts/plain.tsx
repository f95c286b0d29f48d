// A short table, all of it in the document: its heads, and whatever rows it is given.

import type { ReactNode } from "react";

/** Heads in their order; of a column of figures, as `{ figures }`. An empty one is that of actions. */
export function Plain({ heads, className, children }: { heads: (string | { figures: string })[]; className?: string; children: ReactNode }): ReactNode {
  return (
    <table className={className === undefined ? "plain" : `plain ${className}`}>
      <thead>
        <tr>
          {heads.map((head) =>
            typeof head === "string" ? (
              head === "" ? (
                <td key="actions" />
              ) : (
                <th key={head}>{head}</th>
              )
            ) : (
              <th key={head.figures} className="number">
                {head.figures}
              </th>
            ),
          )}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}
