// The page: frame, pages by path (each loaded when it is first opened), and what catches their failures.

import { Component, lazy, StrictMode, Suspense, type ComponentType, type LazyExoticComponent, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/views.css";
import "./styles/boards.css";
import { Failed, Loading, Empty } from "./parts/state";
import { asApiError } from "./api/error";
import { Link, usePlace } from "./router";
import { SessionGate, useSession } from "./session";
import { PAGES, Shell } from "./shell";
import { Home } from "./views/home";
import { useWatch, WatchGate } from "./watch";

const views: Record<string, LazyExoticComponent<ComponentType> | ComponentType> = {
  "/": Home,
  "/query": lazy(() => import("./views/query")),
  "/explore": lazy(() => import("./views/explore")),
  "/dashboards": lazy(() => import("./views/dashboards")),
  "/alerts": lazy(() => import("./views/alerts")),
  "/load": lazy(() => import("./views/load")),
  "/datasources": lazy(() => import("./views/datasources")),
  "/segments": lazy(() => import("./views/segments")),
  "/ingestion": lazy(() => import("./views/ingestion")),
  "/services": lazy(() => import("./views/services")),
  "/lookups": lazy(() => import("./views/lookups")),
  "/access": lazy(() => import("./views/access")),
  "/audit": lazy(() => import("./views/audit")),
  "/api": lazy(() => import("./views/reference")),
  "/me": lazy(() => import("./views/me")),
};

class Catch extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return (
      <div className="page">
        <Failed error={asApiError(this.state.error)} retry={() => this.setState({ error: null })} />
      </div>
    );
  }
}

function Page(): ReactNode {
  const { path } = usePlace();
  const { who } = useSession();
  const { offers } = useWatch();
  const View = views[path];
  const page = PAGES.find((one) => one.path === path);
  if (View === undefined || (page !== undefined && !page.shown(who, offers))) {
    return (
      <div className="page">
        <Empty title="There is no such page">
          <Link to="/">Go to the start</Link>
        </Empty>
      </div>
    );
  }
  return (
    <Catch key={path}>
      <Suspense fallback={<Loading />}>
        <View />
      </Suspense>
    </Catch>
  );
}

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <SessionGate>
        <WatchGate>
          <Shell>
            <Page />
          </Shell>
        </WatchGate>
      </SessionGate>
    </StrictMode>,
  );
}
