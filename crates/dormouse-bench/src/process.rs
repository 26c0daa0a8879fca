//! What the operating system knows and does about processes: cores, memory, CPU time, limits.
//!
//! Linux only, as is the rest of the load tool.

use std::fs;
use std::io;
use std::mem;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks per second in `/proc/<pid>/stat`. The kernel's interface fixes it, whatever its timer does.
const TICKS_PER_SECOND: u64 = 100;

/// Cores that this process may run on, lowest first.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: `cpu_set_t` is a plain bit set, for which zeros are a value; the kernel writes at
    // most the size it is told; `CPU_ISSET` stays inside the set because of the range's end.
    #[expect(unsafe_code, reason = "std has no CPU affinity")]
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        let cores = 0..8 * mem::size_of_val(&set);
        Ok(cores.filter(|&core| libc::CPU_ISSET(core, &set)).collect())
    }
}

/// Moves the calling thread to `cores`. Threads and processes it starts from now on stay there too.
pub(crate) fn run_on(cores: &[usize]) -> io::Result<()> {
    // SAFETY: as in `allowed_cores`, which is also where the numbers of cores come from.
    #[expect(unsafe_code, reason = "std has no CPU affinity")]
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        for &core in cores {
            libc::CPU_SET(core, &mut set);
        }
        if libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Gives the calling thread the lowest priority.
pub(crate) fn yield_to_others() -> io::Result<()> {
    const LOWEST_PRIORITY: libc::c_int = 19;
    // SAFETY: the call takes no pointers; on Linux, 0 means the calling thread.
    #[expect(unsafe_code, reason = "std has no priorities")]
    let changed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST_PRIORITY) };
    if changed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Raises the limit of open descriptors as far as an ordinary user may, and returns it.
///
/// 10,000 idle sockets need it here, and again in the server, which inherits it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    // SAFETY: both calls get a pointer to one `rlimit` that lives through them.
    #[expect(unsafe_code, reason = "std has no resource limits")]
    unsafe {
        let mut limit: libc::rlimit = mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(limit.rlim_cur)
    }
}

/// Makes `command`'s process end when the thread that starts it does, even by `SIGKILL`.
pub(crate) fn end_with_this_thread(command: &mut tokio::process::Command) {
    // SAFETY: between fork and exec only `prctl` runs, which is async-signal-safe and takes no
    // pointers.
    #[expect(unsafe_code, reason = "std has no parent-death signal")]
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
        .with_context(|| format!("no VmRSS in {path}"))?;
    Ok(kib * 1024)
}

/// Descriptors that a process has open: files, sockets and all else.
pub(crate) fn open_descriptors(pid: u32) -> Result<usize> {
    let path = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&path).with_context(|| format!("list {path}"))?.count())
}

/// CPU time that a process has used since it started, in user and kernel, all threads.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("no CPU time in {path}"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// CPU time that all processes of the machine have used since it started, on all cores, with what
/// the machine's host took from it.
pub(crate) fn machine_cpu_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let ticks = machine_ticks(&stat).context("no CPU time in /proc/stat")?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Load average over the last minute: what else ran here.
pub(crate) fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().context("no number in /proc/loadavg")
}

/// `utime` plus `stime`, the 14th and 15th fields. The second is the program's name, which may
/// contain anything, so counting starts behind its closing parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

/// The first line's fields: user, nice, system, idle, waiting for disks, irq, softirq, stolen. All but
/// the two in which nothing ran.
fn machine_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, _idle, _waiting, irq, softirq, stolen] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq + stolen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nothing_ran_is_no_cpu_time_of_the_machine() {
        let stat = "cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 0 0 0 0 0 0 0 0 0 0\n";

        assert_eq!(machine_ticks(stat), Some(1 + 2 + 4 + 8 + 16 + 32));
        assert_eq!(machine_ticks("cpu  1 2 3"), None);
    }

    #[test]
    fn cpu_ticks_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) (b c) S 1 42 42 0 -1 4194560 1 2 3 4 70 30 5 6 20 0 3 0 99";

        assert_eq!(cpu_ticks(stat), Some(100));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();

        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(cpu_time(pid).is_ok());
        assert!(open_descriptors(pid).unwrap() > 2);
        assert!(!allowed_cores().unwrap().is_empty());
    }
}
