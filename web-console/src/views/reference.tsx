// The API: every operation that the server describes, by what it is about, with what it takes, what it answers and which rights it
// needs; and each as a command.

import { useMemo, useState, type ReactNode } from "react";
import { api, exampleOf, fieldsOf, typeOf, type Api, type Body, type Operation } from "../api/openapi";
import { plural } from "../parts/format";
import { Icon } from "../parts/icon";
import { useLive } from "../parts/live";
import { Document } from "../parts/panes";
import { Plain } from "../parts/plain";
import { Empty, Shown } from "../parts/state";
import { Filter } from "../parts/table";
import { adjust, Link, usePlace } from "../router";
import { useSession } from "../session";
import { Head } from "../shell";
import { asCurlOf } from "./handover";
import "../styles/reference.css";

export default function Reference(): ReactNode {
  const live = useLive(api, []);
  const { parameters } = usePlace();
  const wanted = parameters.get("find") ?? "";
  return (
    <div className="page fill">
      <Head title="API" about="Every path that this server answers: what it takes, what it gives, and who may ask it.">
        <Filter value={wanted} onChange={(value) => adjust({ find: value }, "replace")} label="Find a path or a word" />
        <a className="button" href="/henge/v1/openapi.json" download="henge-openapi.json">
          <Icon name="load" size={15} /> openapi.json
        </a>
      </Head>
      <Shown live={live}>{(all) => <Browser all={all} wanted={wanted} chosen={parameters.get("op")} />}</Shown>
    </div>
  );
}

function Browser({ all, wanted, chosen }: { all: Api; wanted: string; chosen: string | null }): ReactNode {
  const words = wanted.trim().toLowerCase().split(/\s+/).filter((one) => one !== "");
  const found = useMemo(() => all.operations.filter((one) => words.every((word) => `${one.id} ${one.tag} ${one.summary} ${one.description}`.toLowerCase().includes(word))), [all, wanted]);
  const groups = useMemo(() => {
    const byTag = new Map<string, Operation[]>();
    for (const one of found) byTag.set(one.tag, [...(byTag.get(one.tag) ?? []), one]);
    return [...byTag].sort(([a], [b]) => a.localeCompare(b));
  }, [found]);
  const open = all.operations.find((one) => one.id === chosen) ?? found[0];
  return (
    <div className="reference">
      <nav className="panel column" aria-label="Operations">
        <header>
          <h2 className="grow">{plural(found.length, "operation")}</h2>
          <span className="muted">{all.version !== "" && `version ${all.version}`}</span>
        </header>
        <div className="operations" tabIndex={0}>
          {groups.length === 0 && <Empty title="None like that">Other words, or fewer.</Empty>}
          {groups.map(([tag, list]) => (
            <section key={tag} aria-label={tag}>
              <h3>{tag}</h3>
              <ul>
                {list.map((one) => (
                  <li key={one.id}>
                    <Link to="/api" with={{ op: one.id, find: wanted }} aria-current={one.id === open?.id ? "true" : undefined} title={one.summary}>
                      <Method of={one.method} />
                      <bdi className="mono">{one.path}</bdi>
                    </Link>
                  </li>
                ))}
              </ul>
            </section>
          ))}
        </div>
      </nav>
      <section className="panel column" aria-label="Operation">
        {open === undefined ? <Empty title="Nothing to show" /> : <One key={open.id} of={open} resolve={all.resolve} />}
      </section>
    </div>
  );
}

const Method = ({ of }: { of: string }): ReactNode => <span className={`method ${of.toLowerCase()}`}>{of}</span>;

function One({ of, resolve }: { of: Operation; resolve: Api["resolve"] }): ReactNode {
  const { who } = useSession();
  const [told, setTold] = useState<string | null>(null);
  // The rights stand at the end of what is told of it, and here in a place of their own.
  const rights = /\s*Needs ([^.]*)\.\s*$/.exec(of.description);
  const about = rights === null ? of.description : of.description.slice(0, rights.index);
  const json = of.bodies.find((one) => one.type.includes("json"));
  const example = json?.schema == null ? (json === undefined ? null : {}) : exampleOf(json.schema, resolve);
  const query = of.parameters.filter((one) => one.in === "query" && one.required).map((one) => `${encodeURIComponent(one.name)}={${one.name}}`);
  const command = asCurlOf(window.location.origin, of.method, of.path + (query.length === 0 ? "" : `?${query.join("&")}`), example === null ? null : JSON.stringify(example), who.authenticated && !of.open);
  const copy = (): void => {
    void navigator.clipboard.writeText(command).then(
      () => {
        setTold("Copied");
        setTimeout(() => setTold(null), 2000);
      },
      () => setTold("The browser does not let this page copy"),
    );
  };
  return (
    <div className="operation" tabIndex={0}>
      <h2>
        <Method of={of.method} /> <bdi className="mono">{of.path}</bdi>
      </h2>
      {of.summary !== "" && <p className="lead">{of.summary}</p>}
      {about !== "" && <p>{about}</p>}
      <dl className="facts">
        <dt>Rights</dt>
        <dd>{of.needs ?? (of.open ? "none: also without signing in" : (rights?.[1] ?? "to be signed in"))}</dd>
      </dl>
      {of.parameters.length > 0 && (
        <>
          <h3>Parameters</h3>
          <Plain heads={["Name", "In", "Type", "What it is"]}>
            {of.parameters.map((one) => (
              <tr key={`${one.in} ${one.name}`}>
                <td className="mono">
                  {one.name}
                  {one.required && <span className="muted"> required</span>}
                </td>
                <td>{one.in}</td>
                <td className="mono">{typeOf(one.schema, resolve)}</td>
                <td>{one.description}</td>
              </tr>
            ))}
          </Plain>
        </>
      )}
      {of.bodies.length > 0 && (
        <>
          <h3>Body{of.bodyRequired ? "" : ", if any"}</h3>
          {of.bodies.map((one) => (
            <BodyOf key={one.type} body={one} resolve={resolve} />
          ))}
          {example !== null && (
            <details>
              <summary>An example</summary>
              <Document of={example} />
            </details>
          )}
        </>
      )}
      <h3>Answers</h3>
      <ul className="answers">
        {of.answers.map((one) => (
          <li key={one.status}>
            <span className={`status s${one.status.charAt(0)}`}>{one.status}</span>
            <div>
              <div>{one.description}</div>
              {one.bodies.map((body) => (
                <BodyOf key={body.type} body={body} resolve={resolve} folded={!one.status.startsWith("2")} />
              ))}
            </div>
          </li>
        ))}
      </ul>
      <div className="row">
        <h3 className="grow">As a command</h3>
        <span className="muted" role="status">
          {told}
        </span>
        <button type="button" onClick={copy}>
          <Icon name="copy" size={14} /> Copy as curl
        </button>
      </div>
      <Document of={command} />
    </div>
  );
}

function BodyOf({ body, resolve, folded = false }: { body: Body; resolve: Api["resolve"]; folded?: boolean }): ReactNode {
  const lines = body.schema === null ? [] : fieldsOf(body.schema, resolve);
  const head = (
    <>
      <span className="mono">{body.type}</span>
      {body.schema !== null && <span className="muted"> · {typeOf(body.schema, resolve)}</span>}
    </>
  );
  if (lines.length === 0) return <div className="body-head">{head}</div>;
  return (
    <details open={!folded}>
      <summary className="body-head">{head}</summary>
      <table className="plain fields">
        <tbody>
          {lines.slice(0, 300).map((one, at) => (
            <tr key={at}>
              <td className={`mono depth-${Math.min(5, one.depth)}`}>
                {one.name}
                {one.required && <span className="required" title="required"> *</span>}
              </td>
              <td className="mono muted">{one.type}</td>
              <td>{one.description}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
