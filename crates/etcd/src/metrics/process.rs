//! What the operating system says of this process; what it does not say is left out.

use std::fs;

use super::page::Page;

pub(super) fn write(page: &mut Page) {
    let open = fs::read_dir("/proc/self/fd").map(|files| files.count()).ok();
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(open) = open {
        page.gauge("process_open_fds", "Files that are open", open);
        page.gauge("os_fd_used", "The same", open);
    }
    if let Some(most) = most {
        page.gauge("process_max_fds", "Files that may be open", most);
        page.gauge("os_fd_limit", "The same", most);
    }
    let Some(own) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Own::read(&text)) else {
        return;
    };
    let (ticks, page_bytes) =
        (rustix::param::clock_ticks_per_second() as f64, rustix::param::page_size() as u64);
    page.counter("process_cpu_seconds_total", "Time on processors", own.cpu_ticks as f64 / ticks);
    page.gauge("process_virtual_memory_bytes", "Address space", own.virtual_bytes);
    page.gauge("process_resident_memory_bytes", "Memory that is held", own.resident_pages * page_bytes);
    if let Some(booted) = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)) {
        let started = booted as f64 + own.started_ticks as f64 / ticks;
        page.gauge("process_start_time_seconds", "When it started, in seconds since 1970", started);
    }
}

/// Fields of `/proc/self/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Own {
    cpu_ticks: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Own {
    fn read(text: &str) -> Option<Own> {
        // The second field is a name in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Counted from the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Own {
            cpu_ticks: field(14)? + field(15)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let text = "7 (a) b (c) R 1 1 1 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 4 0 9000 123456 77 1844 1 1 0\n";
        let own = Own { cpu_ticks: 42, started_ticks: 9000, virtual_bytes: 123_456, resident_pages: 77 };
        assert_eq!(Own::read(text), Some(own));
        assert_eq!(Own::read("7 (a) R 1"), None);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\nprocs 3\n"), Some(1_700_000_000));
    }
}
