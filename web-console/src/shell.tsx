// The frame around every page: where one can go (what is not permitted is not shown), who one is, theme and time zone.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { useEffect, useState, type ReactNode } from "react";
import { mayAny, mayAudit, maySeeSegments, type Who } from "./api/session";
import { Icon, Mark, type IconName } from "./parts/icon";
import { useNow } from "./parts/live";
import { go, Link, usePlace } from "./router";
import { useSession } from "./session";
import { set, useSettings } from "./settings";
import { useWatch, type Watch } from "./watch";
import { wanting } from "./views/alerting";

interface PageEntry {
  path: string;
  title: string;
  icon: IconName;
  group: "ask" | "data" | "run";
  shown: (who: Who, offers: Watch["offers"]) => boolean;
}

const everybody = (): boolean => true;

export const PAGES: PageEntry[] = [
  { path: "/", title: "Home", icon: "home", group: "ask", shown: everybody },
  { path: "/query", title: "Query", icon: "query", group: "ask", shown: everybody },
  { path: "/explore", title: "Explore", icon: "explore", group: "ask", shown: everybody },
  { path: "/dashboards", title: "Dashboards", icon: "dashboards", group: "ask", shown: (_, offers) => offers.dashboards !== false },
  { path: "/load", title: "Load data", icon: "load", group: "data", shown: (who) => mayAny(who, "DATASOURCE", "WRITE") },
  { path: "/datasources", title: "Datasources", icon: "datasources", group: "data", shown: everybody },
  { path: "/segments", title: "Segments", icon: "segments", group: "data", shown: maySeeSegments },
  { path: "/ingestion", title: "Ingestion", icon: "ingestion", group: "data", shown: (who) => mayAny(who, "DATASOURCE", "WRITE") || mayAny(who, "SUPERVISOR", "READ") || mayAny(who, "TASK", "READ") },
  { path: "/lookups", title: "Lookups", icon: "lookups", group: "data", shown: (who) => mayAny(who, "LOOKUP", "READ") },
  { path: "/alerts", title: "Alerts", icon: "bell", group: "run", shown: (_, offers) => offers.alerts !== false },
  { path: "/services", title: "Services", icon: "services", group: "run", shown: (who) => mayAny(who, "STATE", "READ") },
  { path: "/access", title: "Access", icon: "access", group: "run", shown: (who) => mayAny(who, "SECURITY", "READ") },
  { path: "/audit", title: "Audit log", icon: "audit", group: "run", shown: mayAudit },
  { path: "/api", title: "API", icon: "tree", group: "run", shown: everybody },
];

const GROUPS = [
  ["ask", "Analyse"],
  ["data", "Data"],
  ["run", "Operate"],
] as const;

export function Shell({ children }: { children: ReactNode }): ReactNode {
  const { who } = useSession();
  const { offers } = useWatch();
  const { path } = usePlace();
  const [open, setOpen] = useState(false);
  useEffect(() => {
    setOpen(false);
    const page = PAGES.find((one) => one.path === path);
    document.title = page === undefined || path === "/" ? "Henge" : `${page.title} · Henge`;
  }, [path]);
  return (
    <div className={open ? "shell open" : "shell"}>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <header className="bar">
        <button type="button" className="bare" aria-label="Navigation" aria-expanded={open} onClick={() => setOpen(!open)}>
          <Icon name="menu" />
        </button>
        <Mark size={22} />
        <strong>Henge</strong>
      </header>
      <nav className="side" aria-label="Pages">
        <Link to="/" className="logo">
          <Mark size={26} />
          <span>Henge</span>
        </Link>
        {GROUPS.map(([group, title]) => {
          const pages = PAGES.filter((page) => page.group === group && page.shown(who, offers));
          if (pages.length === 0) return null;
          return (
            <div key={group} className="side-group">
              <h2 id={`nav-${group}`}>{title}</h2>
              <ul aria-labelledby={`nav-${group}`}>
                {pages.map((page) => (
                  <li key={page.path}>
                    <Link to={page.path} title={page.title} aria-current={path === page.path ? "page" : undefined}>
                      <Icon name={page.icon} />
                      <span>{page.title}</span>
                      {page.path === "/alerts" && <Firing />}
                    </Link>
                  </li>
                ))}
              </ul>
            </div>
          );
        })}
        <Account />
      </nav>
      {open && <button type="button" className="veil" aria-label="Close the navigation" onClick={() => setOpen(false)} />}
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

/** How many alerts want somebody now. */
function Firing(): ReactNode {
  const { alerts } = useWatch();
  const now = useNow(10_000);
  const many = wanting(alerts ?? [], now).length;
  if (many === 0) return null;
  return (
    <span className="mark" aria-label={`${many} firing`}>
      {many > 99 ? "99+" : many}
    </span>
  );
}

function Account(): ReactNode {
  const { who, leave } = useSession();
  const { theme, zone } = useSettings();
  const known = who.authenticated;
  return (
    <div className="account">
      <Menu.Root modal={false}>
        <Menu.Trigger asChild>
          <button type="button" className="bare wide" title={who.username}>
            <Icon name="person" />
            <span className="account-name">
              <bdi>{known ? who.username : "Not signed in"}</bdi>
              <small>{known ? who.roles.join(", ") : "no sign-in is asked for"}</small>
            </span>
          </button>
        </Menu.Trigger>
        <Menu.Portal>
          <Menu.Content className="menu" side="top" align="start" sideOffset={6} collisionPadding={8}>
            <Menu.Label>Theme</Menu.Label>
            <Menu.RadioGroup value={theme} onValueChange={(value) => set({ theme: value as typeof theme })}>
              {(["system", "light", "dark"] as const).map((one) => (
                <Menu.RadioItem key={one} value={one} onSelect={(event) => event.preventDefault()}>
                  <span className="tick">
                    <Menu.ItemIndicator>
                      <Icon name="check" size={14} />
                    </Menu.ItemIndicator>
                  </span>
                  {{ system: "As the system", light: "Light", dark: "Dark" }[one]}
                </Menu.RadioItem>
              ))}
            </Menu.RadioGroup>
            <Menu.Separator />
            <Menu.Label>Times are shown in</Menu.Label>
            <Menu.RadioGroup value={zone} onValueChange={(value) => set({ zone: value as typeof zone })}>
              <Menu.RadioItem value="utc" onSelect={(event) => event.preventDefault()}>
                <span className="tick">
                  <Menu.ItemIndicator>
                    <Icon name="check" size={14} />
                  </Menu.ItemIndicator>
                </span>
                UTC
              </Menu.RadioItem>
              <Menu.RadioItem value="local" onSelect={(event) => event.preventDefault()}>
                <span className="tick">
                  <Menu.ItemIndicator>
                    <Icon name="check" size={14} />
                  </Menu.ItemIndicator>
                </span>
                {Intl.DateTimeFormat().resolvedOptions().timeZone} (this browser)
              </Menu.RadioItem>
            </Menu.RadioGroup>
            {known && (
              <>
                <Menu.Separator />
                <Menu.Item onSelect={() => go("/me")}>Password and API tokens</Menu.Item>
                {who.how === "session" && <Menu.Item onSelect={() => void leave()}>Sign out</Menu.Item>}
              </>
            )}
          </Menu.Content>
        </Menu.Portal>
      </Menu.Root>
    </div>
  );
}

/** The head of a page: its title, what it is about, and what can be done. */
export function Head({ title, about, children }: { title: ReactNode; about?: ReactNode; children?: ReactNode }): ReactNode {
  return (
    <header className="head">
      <div className="grow">
        <h1>{title}</h1>
        {about !== undefined && <p>{about}</p>}
      </div>
      {children !== undefined && <div className="actions">{children}</div>}
    </header>
  );
}
