//! What the kernel knows of a process: CPU time and memory.

use anyhow::Context;
use std::fs;

/// CPU seconds of a whole process, user and system (`/proc/PID/stat`; ticks of 10 ms).
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process's CPU time")?;
    let behind_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: f64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

/// CPU seconds of a process with one thread, by the scheduler's own count in nanoseconds.
pub fn scheduled_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Largest resident size so far, in MiB.
pub fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .context("VmHWM is no number")?;
    Ok(kib / 1_024.0)
}
