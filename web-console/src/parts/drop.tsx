// A button that opens a menu.

import * as Menu from "@radix-ui/react-dropdown-menu";
import { useState, type ReactNode } from "react";
import { Icon, type IconName } from "./icon";

export function Drop({ label, icon, children }: { label: string; icon?: IconName; children: ReactNode }): ReactNode {
  // A window lies over all that is not in it: the menu of a button in a window has to be in it too.
  const [home, setHome] = useState<HTMLElement | null>(null);
  return (
    <Menu.Root modal={false}>
      <Menu.Trigger asChild>
        <button type="button" title={icon === undefined ? undefined : label} ref={(button) => setHome(button?.closest("dialog") ?? null)}>
          {icon !== undefined && <Icon name={icon} size={15} />}
          {icon === undefined ? label : <span className="hand">{label}</span>}
          <Icon name="down" size={13} />
        </button>
      </Menu.Trigger>
      <Menu.Portal container={home}>
        <Menu.Content className="menu" align="end" sideOffset={4} collisionPadding={8}>
          {children}
        </Menu.Content>
      </Menu.Portal>
    </Menu.Root>
  );
}
