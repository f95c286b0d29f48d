// Alerts that fire over what is shown, where it is shown.

import type { ReactNode } from "react";
import { plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { Link } from "../router";
import { useWatch } from "../watch";
import { concerning } from "./alerting";

export function FiringOver({ statements, what }: { statements: string[]; what: string }): ReactNode {
  const { alerts } = useWatch();
  const firing = concerning(alerts ?? [], statements);
  if (firing.length === 0) return null;
  return (
    <div className="notice bad" role="status">
      <Icon name="bell" />
      <div className="grow">
        <strong>{firing.length === 1 ? "An alert fires" : `${plural(firing.length, "alert")} fire`}</strong> over {what}:{" "}
        {firing.slice(0, 5).map((one, at) => (
          <span key={one.name}>
            {at > 0 && ", "}
            <Link to="/alerts" with={{ name: one.name }}>
              <bdi>{one.name}</bdi>
            </Link>
          </span>
        ))}
        {firing.length > 5 && ` and ${plural(firing.length - 5, "more")}`}
      </div>
    </div>
  );
}
