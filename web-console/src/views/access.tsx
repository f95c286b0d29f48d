// Access: users, roles with their permissions and policies, and rules of tables. The editor of a role shows beside it what a
// chosen user would see if it were posted as it stands.

import * as Tabs from "@radix-ui/react-tabs";
import { lazy, Suspense, useEffect, useState, type ReactNode } from "react";
import { datasourceNames } from "../api/cluster";
import { asApiError, type ApiError } from "../api/error";
import { deleteRole, deleteUser, endSessions, explainAccess, putRole, putTableRule, putUser, roles, tableRules, users, type Explained, type PutUser, type Role, type RoleDocument, type TableRule, type User } from "../api/security";
import { may } from "../api/session";
import { Confirm, Dialog, type Question } from "../parts/dialog";
import { count, plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Plain } from "../parts/plain";
import { Empty, Failed, Loading, Shown } from "../parts/state";
import { Filter, matching, Table, type TableColumn } from "../parts/table";
import { Badge, Instant, Name } from "../parts/text";
import { adjust, Link, usePlace } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { filterText } from "./plan";

const Editor = lazy(() => import("../parts/editor"));

interface Everything {
  users: User[];
  roles: Role[];
  rules: TableRule[];
  names: string[];
}

export default function Access(): ReactNode {
  const { who } = useSession();
  const { parameters } = usePlace();
  const tab = parameters.get("tab") ?? "users";
  const [wanted, setWanted] = useState("");
  const [user, setUser] = useState<User | "new" | null>(null);
  const [role, setRole] = useState<Role | "new" | null>(null);
  const [question, setQuestion] = useState<Question | null>(null);
  const writes = may(who, "SECURITY", "SECURITY", "WRITE");
  const live = useLive(
    async (signal): Promise<Everything> => {
      const [people, documents, rules, names] = await Promise.all([users(signal), roles(signal), tableRules(signal), datasourceNames(signal)]);
      return { users: people, roles: documents, rules, names };
    },
    [],
    15_000,
  );
  const userColumns: TableColumn<User>[] = [
    { key: "name", title: "Name", least: 200, text: (one) => one.username },
    { key: "kind", title: "Kind", width: 90, yields: 2, text: (one) => one.kind },
    { key: "state", title: "State", width: 130, text: (one) => (one.disabled ? "disabled" : "may sign in"), show: (one) => <Badge tone={one.disabled ? "quiet" : "good"}>{one.disabled ? "disabled" : one.kind === "service" ? "by token" : "may sign in"}</Badge> },
    { key: "roles", title: "Roles", least: 150, text: (one) => one.roles.join(", ") },
    { key: "groups", title: "Groups", yields: 3, text: (one) => one.groups.join(", ") },
    { key: "attributes", title: "Attributes", text: (one) => Object.entries(one.attributes).map(([name, values]) => `${name}: ${values.join(", ")}`).join("; ") },
    { key: "changed", title: "Changed", width: 178, yields: 1, text: (one) => one.changed, show: (one) => <Instant at={one.changed} brief /> },
  ];
  const roleColumns: TableColumn<Role>[] = [
    { key: "name", title: "Role", least: 200, text: (one) => one.name },
    { key: "permissions", title: "Permits", least: 240, text: (one) => (one.document.permissions ?? []).map((each) => `${each.resource.type} ${each.resource.name} ${each.action}`).join("; ") },
    { key: "policies", title: "Row policies", width: 120, end: true, text: (one) => count(one.document.policies?.length ?? 0), value: (one) => one.document.policies?.length ?? 0 },
    { key: "columns", title: "Column rules", width: 120, end: true, text: (one) => count(one.document.columns?.length ?? 0), value: (one) => one.document.columns?.length ?? 0 },
    { key: "includes", title: "Includes", width: 130, yields: 2, text: (one) => (one.document.includes ?? []).join(", ") },
    { key: "changed", title: "Changed", width: 178, yields: 1, text: (one) => one.changed, show: (one) => <Instant at={one.changed} brief /> },
    { key: "by", title: "By", width: 120, yields: 3, text: (one) => one.changedBy },
  ];
  return (
    <div className="page fill">
      <Head title="Access" about="Who may come in, and what of the data they see. Changes hold for the next request.">
        {tab !== "tables" && <Filter value={wanted} onChange={setWanted} label={tab === "roles" ? "Find a role" : "Find a user"} />}
        {writes && tab === "users" && (
          <button type="button" className="primary" onClick={() => setUser("new")}>
            <Icon name="add" /> New user
          </button>
        )}
        {writes && tab === "roles" && (
          <button type="button" className="primary" onClick={() => setRole("new")}>
            <Icon name="add" /> New role
          </button>
        )}
      </Head>
      <Tabs.Root value={tab} onValueChange={(value) => adjust({ tab: value === "users" ? null : value })} className="panel column">
        <Tabs.List className="tabs" aria-label="Access">
          <Tabs.Trigger value="users">Users</Tabs.Trigger>
          <Tabs.Trigger value="roles">Roles and policies</Tabs.Trigger>
          <Tabs.Trigger value="tables">Datasources</Tabs.Trigger>
        </Tabs.List>
        <Tabs.Content value="users" className="panel-content">
          <Shown live={live}>{(all) => <Table label="Users" rows={matching(all.users, userColumns, wanted)} columns={userColumns} sort={{ key: "name", down: false }} heightMax={2000} onOpen={setUser} />}</Shown>
        </Tabs.Content>
        <Tabs.Content value="roles" className="panel-content">
          <Shown live={live}>
            {(all) => (
              <Table label="Roles" rows={matching(all.roles, roleColumns, wanted)} columns={roleColumns} sort={{ key: "name", down: false }} heightMax={2000} onOpen={setRole} empty={<Empty title="No roles but admin">A role says what its users may do, and which rows and columns they see.</Empty>} />
            )}
          </Shown>
        </Tabs.Content>
        <Tabs.Content value="tables" className="panel-content">
          <Shown live={live}>{(all) => <Tables all={all} writes={writes} ask={setQuestion} />}</Shown>
        </Tabs.Content>
      </Tabs.Root>
      {user !== null && live.data !== null && <EditUser user={user === "new" ? null : user} roles={live.data.roles} writes={writes} onClose={() => setUser(null)} onDone={live.refresh} ask={setQuestion} />}
      {role !== null && live.data !== null && <EditRole role={role === "new" ? null : role} all={live.data} writes={writes} onClose={() => setRole(null)} onDone={live.refresh} ask={setQuestion} />}
      {question !== null && (
        <Confirm
          question={question}
          onClose={() => setQuestion(null)}
          onDone={() => {
            setUser(null);
            setRole(null);
            live.refresh();
          }}
        />
      )}
    </div>
  );
}

const listOf = (text: string): string[] => text.split(",").map((one) => one.trim()).filter((one) => one !== "");

/** `tenant: A, B` on a line each. */
export function attributesOf(text: string): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) found[line.slice(0, colon).trim()] = listOf(line.slice(colon + 1));
  }
  return found;
}

interface EditUserProps {
  user: User | null;
  roles: Role[];
  writes: boolean;
  onClose: () => void;
  onDone: () => void;
  ask: (question: Question) => void;
}

function EditUser({ user, roles: known, writes, onClose, onDone, ask }: EditUserProps): ReactNode {
  const [name, setName] = useState(user?.username ?? "");
  const [password, setPassword] = useState("");
  const [kind, setKind] = useState<"person" | "service">(user?.kind ?? "person");
  const [chosen, setChosen] = useState<string[]>(user?.roles ?? []);
  const [groups, setGroups] = useState(user?.groups.join(", ") ?? "");
  const [attributes, setAttributes] = useState(Object.entries(user?.attributes ?? {}).map(([key, values]) => `${key}: ${values.join(", ")}`).join("\n"));
  const [disabled, setDisabled] = useState(user?.disabled ?? false);
  const [error, setError] = useState<ApiError | null>(null);
  const save = async (): Promise<void> => {
    setError(null);
    const document: PutUser = {
      kind,
      disabled,
      roles: chosen,
      groups: listOf(groups),
      attributes: attributesOf(attributes),
      ...(user === null ? {} : { email: user.email, profile: user.profile, settings: user.settings }),
      ...(password === "" ? {} : { password }),
    };
    try {
      await putUser(name, document, user?.version ?? null);
      onDone();
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  const all = [...new Set(["admin", ...known.map((one) => one.name), ...chosen])];
  return (
    <Dialog
      kind="side"
      title={user === null ? "New user" : <Name>{user.username}</Name>}
      onClose={onClose}
      foot={
        writes ? (
          <>
            {user !== null && (
              <>
                <button type="button" onClick={() => ask({ title: `Delete ${user.username}?`, consequence: "The user, its password, tokens and sessions are gone from the next request on. What it did stays in the audit log.", action: "Delete", grave: true, type: user.username, act: () => deleteUser(user.username, user.version) })}>
                  Delete…
                </button>
                <button type="button" onClick={() => ask({ title: `End all sessions of ${user.username}?`, consequence: "Whoever is signed in by that name has to sign in again. Tokens go on.", action: "End them", act: () => endSessions(user.username) })}>
                  End sessions…
                </button>
              </>
            )}
            <span className="grow" />
            {user === null && (
              <button type="button" onClick={onClose}>
                Not now
              </button>
            )}
            <button type="button" className="primary" disabled={name === "" || (user === null && kind === "person" && password === "")} onClick={() => void save()}>
              {user === null ? "Make the user" : "Save"}
            </button>
          </>
        ) : undefined
      }
    >
      <div className="pair">
        <label className="field">
          <span>Name</span>
          <input value={name} disabled={user !== null} onChange={(event) => setName(event.target.value)} autoComplete="off" spellCheck={false} />
        </label>
        <label className="field">
          <span>Kind</span>
          <select value={kind} onChange={(event) => setKind(event.target.value as typeof kind)} disabled={!writes}>
            <option value="person">a person, with a password</option>
            <option value="service">a service, with tokens</option>
          </select>
        </label>
        {kind === "person" && writes && (
          <label className="field">
            <span>{user === null ? "Password" : "New password"}</span>
            <input type="password" value={password} autoComplete="new-password" placeholder={user === null ? "" : "as it is"} onChange={(event) => setPassword(event.target.value)} />
          </label>
        )}
        <label className="field">
          <span>Groups</span>
          <input value={groups} disabled={!writes} placeholder="sales, berlin" onChange={(event) => setGroups(event.target.value)} />
        </label>
      </div>
      <fieldset>
        <legend>Roles</legend>
        <div className="row">
          {all.map((one) => (
            <label key={one} className="check">
              <input type="checkbox" disabled={!writes} checked={chosen.includes(one)} onChange={(event) => setChosen(event.target.checked ? [...chosen, one] : chosen.filter((each) => each !== one))} />
              <bdi>{one}</bdi>
            </label>
          ))}
        </div>
        {chosen.includes("admin") && <p className="muted">admin may do everything and sees everything.</p>}
      </fieldset>
      <label className="field">
        <span>Attributes</span>
        <textarea rows={3} value={attributes} disabled={!writes} placeholder={"tenant: A, B\nregion: eu"} onChange={(event) => setAttributes(event.target.value)} spellCheck={false} />
        <small>One a line. Policies compare columns with them: tenant = USER_ATTRIBUTE('tenant').</small>
      </label>
      <label className="check">
        <input type="checkbox" checked={disabled} disabled={!writes} onChange={(event) => setDisabled(event.target.checked)} /> Disabled: refused from the next request on
      </label>
      {error !== null && <Failed error={error} />}
    </Dialog>
  );
}

const START: RoleDocument = {
  permissions: [{ resource: { type: "DATASOURCE", name: "events" }, action: "READ" }],
  policies: [{ name: "own rows", datasource: "events", kind: "permissive", sql: "tenant = USER_ATTRIBUTE('tenant')" }],
  columns: [],
};

function EditRole({ role, all, writes, onClose, onDone, ask }: { role: Role | null; all: Everything; writes: boolean; onClose: () => void; onDone: () => void; ask: (question: Question) => void }): ReactNode {
  const [name, setName] = useState(role?.name ?? "");
  const [text, setText] = useState(JSON.stringify(role?.document ?? START, null, 2));
  const [error, setError] = useState<ApiError | null>(null);
  let document: RoleDocument | null = null;
  try {
    document = JSON.parse(text) as RoleDocument;
  } catch {
    document = null;
  }
  const save = async (): Promise<void> => {
    if (document === null) return;
    setError(null);
    try {
      await putRole(name, document, role?.version ?? null);
      onDone();
      onClose();
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  };
  const holders = role === null ? [] : all.users.filter((one) => one.roles.includes(role.name));
  return (
    <Dialog
      kind="side"
      wide
      title={role === null ? "New role" : <Name>{role.name}</Name>}
      onClose={onClose}
      foot={
        writes ? (
          <>
            {role !== null && (
              <button type="button" onClick={() => ask({ title: `Delete the role ${role.name}?`, consequence: `${plural(holders.length, "user")} who ${holders.length === 1 ? "has" : "have"} it lose what it permits, and what its policies showed them.`, action: "Delete", grave: true, type: role.name, act: () => deleteRole(role.name, role.version) })}>
                Delete…
              </button>
            )}
            <span className="grow" />
            {role === null && (
              <button type="button" onClick={onClose}>
                Not now
              </button>
            )}
            <button type="button" className="primary" disabled={name === "" || document === null} onClick={() => void save()}>
              {role === null ? "Make the role" : "Put it in force"}
            </button>
          </>
        ) : undefined
      }
    >
      {role === null ? (
        <label className="field">
          <span>Name</span>
          <input value={name} onChange={(event) => setName(event.target.value)} spellCheck={false} data-first />
        </label>
      ) : (
        <p className="muted">
          {holders.length === 0 ? "Nobody has it." : `Held by ${holders.map((one) => one.username).join(", ")}.`} Version {role.version}, by <bdi>{role.changedBy}</bdi> at <Instant at={role.changed} />. <Link to="/audit" with={{ kind: "role", hours: "720" }}>What was changed</Link>
        </p>
      )}
      <div style={{ height: "38vh", border: "1px solid var(--line)", borderRadius: 6, overflow: "hidden", flex: "none" }}>
        <Suspense fallback={<Loading />}>
          <Editor value={text} onChange={setText} language="json" label="Document of the role" readOnly={!writes} />
        </Suspense>
      </div>
      {document === null && <p className="wrong">This is not JSON yet.</p>}
      {error !== null && <Failed error={error} />}
      <Preview all={all} name={name} document={document} first={holders[0]?.username} />
    </Dialog>
  );
}

/** Asks the server what a user would see with the role as it stands in the editor, shortly after each change. */
function Preview({ all, name, document, first }: { all: Everything; name: string; document: RoleDocument | null; first: string | undefined }): ReactNode {
  const [user, setUser] = useState(first ?? all.users.find((one) => !one.roles.includes("admin"))?.username ?? all.users[0]?.username ?? "");
  const [source, setSource] = useState(all.names.find((one) => document?.policies?.some((policy) => policy.datasource === one)) ?? all.names[0] ?? "");
  const [told, setTold] = useState<Explained | ApiError | null>(null);
  const text = JSON.stringify(document);
  useEffect(() => {
    if (document === null || user === "" || source === "") return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      explainAccess(user, source, { name: name === "" ? "new-role" : name, role: document }, stop.signal).then(setTold, (thrown) => {
        const error = asApiError(thrown);
        if (error.kind !== "cancelled") setTold(error);
      });
    }, 400);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text, user, source, name]);
  return (
    <fieldset>
      <legend>With this role as it stands</legend>
      <div className="row">
        <select aria-label="User" value={user} onChange={(event) => setUser(event.target.value)}>
          {all.users.map((one) => (
            <option key={one.username}>{one.username}</option>
          ))}
        </select>
        <span>would see of</span>
        <select aria-label="Datasource" value={source} onChange={(event) => setSource(event.target.value)}>
          {all.names.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </div>
      <div aria-live="polite">
        {told === null ? <span className="muted">…</span> : told instanceof Error ? <Failed error={told as ApiError} /> : <ExplainedFacts told={told} />}
      </div>
    </fieldset>
  );
}

function ExplainedFacts({ told }: { told: Explained }): ReactNode {
  return (
    <dl className="facts">
      <dt>Access</dt>
      <dd>
        <Badge tone={told.access === "denied" ? "bad" : told.access === "restricted" ? "warn" : "good"}>{told.access}</Badge> {told.reason}
      </dd>
      {told.rows !== undefined && (
        <>
          <dt>Rows</dt>
          <dd>{count(told.rows)}</dd>
        </>
      )}
      {told.filter !== undefined && told.filter !== null && (
        <>
          <dt>Where</dt>
          <dd className="mono">{filterText(told.filter)}</dd>
        </>
      )}
      {(told.columns?.length ?? 0) > 0 && (
        <>
          <dt>Columns</dt>
          <dd>{told.columns?.map((one) => `${one.column}: ${one.rule.type}${one.rule.n === undefined ? "" : ` ${one.rule.n}`}`).join(", ")}</dd>
        </>
      )}
    </dl>
  );
}

function Tables({ all, writes, ask }: { all: Everything; writes: boolean; ask: (question: Question) => void }): ReactNode {
  const rules = Object.fromEntries(all.rules.map((one) => [one.name, one.document]));
  const names = [...new Set([...all.names, ...all.rules.map((one) => one.name)])].sort();
  if (names.length === 0) return <Empty title="No datasources yet" />;
  return (
    <div style={{ overflow: "auto" }}>
      <Plain heads={["Datasource", "Who has no permissive policy", ""]}>
        {names.map((name) => {
          const required = rules[name]?.requirePolicy === true;
          return (
            <tr key={name}>
              <td>
                <Name>{name}</Name>
              </td>
              <td>
                <Badge tone={required ? "good" : "quiet"}>{required ? "sees no row" : "sees every row, if a role permits reading"}</Badge>
              </td>
              <td className="number">
                {writes && (
                  <button
                    type="button"
                    onClick={() =>
                      ask({
                        title: required ? `Let ${name} be read without a policy?` : `Ask for a policy to read ${name}?`,
                        consequence: required
                          ? "Whoever may read it and has no permissive policy sees all of its rows from the next query on."
                          : "Whoever has no permissive policy for it sees none of its rows from the next query on; who acts as admin is exempt.",
                        action: required ? "Let it be read" : "Ask for a policy",
                        grave: required,
                        act: () => putTableRule(name, { ...rules[name], requirePolicy: !required }),
                      })
                    }
                  >
                    {required ? "Ask for none…" : "Ask for one…"}
                  </button>
                )}
              </td>
            </tr>
          );
        })}
      </Plain>
    </div>
  );
}
