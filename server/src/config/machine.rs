//! What the machine lets this process have.

use std::path::{Component, Path};

/// Memory that the process may use: the machine's, or less where a control group has a limit. `None` where the system
/// tells of neither.
pub fn memory_bytes() -> Option<u64> {
    let physical = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = of_groups(&groups, Path::new("/sys/fs/cgroup"));
    physical.into_iter().chain(limit).min()
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The least of the limits of the groups that the process is in and of those around them, in either of the two forms that
/// there are. Within a container the root may be the group itself, whatever its name is outside.
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (root.to_path_buf(), "memory.max"),
            named if named.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut folder = root;
        let steps = Path::new(path).components().filter(|step| matches!(step, Component::Normal(_)));
        for step in std::iter::once(None).chain(steps.map(Some)) {
            folder.extend(step);
            limits.extend(
                std::fs::read_to_string(folder.join(file)).ok().and_then(|text| text.trim().parse::<u64>().ok()),
            );
        }
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts() {
        assert_eq!(of_machine("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(of_machine(""), None);
        let dir = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, text).expect("a file");
        };
        put("a/memory.max", "4000\n");
        put("a/b/memory.max", "max\n");
        put("memory/docker/x/memory.limit_in_bytes", "3000\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let read = |groups: &str| of_groups(groups, dir.path());
        assert_eq!(read("0::/a/b\n"), Some(4000));
        assert_eq!(read("0::/elsewhere\n"), None);
        assert_eq!(read("5:cpu:/a\n4:memory,hugetlb:/docker/x\n"), Some(3000));
        assert_eq!(read("4:memory:/docker/y\n0::/a\n"), Some(4000));
        assert_eq!(read("no such line"), None);
    }
}
