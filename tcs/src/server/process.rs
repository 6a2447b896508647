//! The limits of the process: memory and descriptors.

use std::{fs, path::Path};

/// Descriptors reserved for the rest of the program.
pub(super) const RESERVED_DESCRIPTORS: u64 = 100;

/// Returns the default of `memory_budget`: 512 MiB, or a quarter of the memory that the process may use.
pub(super) fn default_memory() -> usize {
    memory_of([address_space(), control_group(Path::new("/"))])
}

/// Returns 512 MiB, or a quarter of the lowest of these limits.
pub(super) fn memory_of(limits: [Option<u64>; 2]) -> usize {
    let usable = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
    let quarter = usize::try_from(usable / 4).unwrap_or(usize::MAX);
    quarter.min(512 << 20)
}

/// Returns the soft limit of the address space (`RLIMIT_AS`, getrlimit(2)), if there is one.
fn address_space() -> Option<u64> {
    #[cfg(unix)]
    return rlimit::Resource::AS.get_soft().ok();
    #[cfg(not(unix))]
    return None;
}

/// Returns the lowest limit of the control group and those around it (cgroups(7), version 2), if there is one. `root`
/// is the root of the file system.
fn control_group(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let all = root.join("sys/fs/cgroup");
    // If a container sees its own group as the root, the path of the group may not exist for it.
    Path::new(group.unwrap_or_default())
        .ancestors()
        .filter_map(|group| fs::read_to_string(all.join(group).join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}

/// Returns the soft limit of descriptors (`RLIMIT_NOFILE`, getrlimit(2)).
pub(super) fn descriptor_limit() -> u64 {
    #[cfg(unix)]
    let limit = rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    let limit = None;
    limit.unwrap_or(u64::MAX)
}

/// Returns the number of connections for which a descriptor limit leaves room, at least 1.
pub(super) fn connections_of(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(1);
    usize::try_from(left).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn descriptor_limit_is_what_the_shell_tells() {
        let shell = std::process::Command::new("sh")
            .args(["-c", "ulimit -S -n"])
            .output();
        let told = String::from_utf8(shell.expect("a shell").stdout).expect("text");
        let descriptors = match told.trim() {
            "unlimited" => u64::MAX,
            number => number.parse().expect("a number"),
        };
        assert_eq!(descriptor_limit(), descriptors);
    }

    #[test]
    fn default_budget_is_a_quarter_of_what_the_process_may_use() {
        const GIB: u64 = 1 << 30;
        for (limits, mebibytes) in [
            ([None, None], 512),
            ([Some(u64::MAX), Some(8 * GIB)], 512),
            ([Some(8 * GIB), Some(GIB)], 256),
            ([Some(GIB / 8), None], 32),
        ] {
            assert_eq!(memory_of(limits), mebibytes << 20, "{limits:?}");
        }
    }

    #[test]
    fn control_group_has_the_lowest_limit_on_its_way_to_the_root() {
        let root = std::env::temp_dir().join(format!("tcs-cgroup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it is ours");
            fs::write(path, text).expect("it is ours");
        };
        assert_eq!(control_group(&root), None);
        write("sys/fs/cgroup/memory.max", "7000\n");
        assert_eq!(control_group(&root), Some(7_000));
        write("proc/self/cgroup", "1:cpu:/a\n0::/a/b/c\n");
        for (path, text, limit) in [
            ("a/b/c/", "6000\n", 6_000),
            ("a/", "5000\n", 5_000),
            ("a/b/", "max\n", 5_000),
            ("a/b/c/d/", "1\n", 5_000),
            ("other/", "1\n", 5_000),
        ] {
            write(&format!("sys/fs/cgroup/{path}memory.max"), text);
            assert_eq!(control_group(&root), Some(limit), "{path}");
        }
        // A group outside of the root that the process sees.
        write("proc/self/cgroup", "0::/../x\n");
        assert_eq!(control_group(&root), Some(7_000));
        fs::remove_dir_all(root).expect("it is ours");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn default_budget_is_a_quarter_of_the_address_space() {
        const TEST: &str = "default_budget_is_a_quarter_of_the_address_space";
        if std::env::var_os(TEST).is_some() {
            let group = control_group(Path::new("/"));
            assert_eq!(default_memory(), memory_of([Some(1 << 30), group]));
            return;
        }
        let limited = std::process::Command::new("sh")
            .args(["-c", "ulimit -S -v 1048576; exec \"$@\"", "sh"])
            .arg(std::env::current_exe().expect("this test"))
            .args(["--test-threads=1", TEST])
            .env(TEST, "")
            .output()
            .expect("a shell");
        let told = String::from_utf8_lossy(&limited.stdout);
        assert!(told.contains("1 passed"), "{told}");
    }

    #[test]
    fn descriptor_limit_leaves_room_for_connections() {
        for (descriptors, room) in [(0, 1), (100, 1), (102, 2), (1_024, 924)] {
            assert_eq!(connections_of(descriptors), room, "{descriptors}");
        }
    }
}
