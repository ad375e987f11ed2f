//! `serve --print-unit`: the systemd unit for this program and this store.
//!
//! Invariant: a pure function of both; nothing is installed. The service runs as the store's owner, with no more of the
//! machine than it needs. `Type=notify`, and not `notify-reload`, which needs systemd 253: `ExecReload` tells truthfully
//! whether the new generation is in force.

use std::path::Path;

/// What the unit is made for.
pub struct Unit<'a> {
    /// The program, by its absolute path.
    pub program: &'a Path,
    /// The store, by its absolute path.
    pub store: &'a Path,
    /// Where the embedded archive is, if not beside the store.
    pub archive: Option<&'a Path>,
    /// The user who owns the store.
    pub user: &'a str,
    /// The seconds that operations under way have when the service ends.
    pub drain_seconds: u64,
}

impl Unit<'_> {
    /// The text of the unit file.
    pub fn text(&self) -> String {
        let folder = self.store.parent().unwrap_or(Path::new("/"));
        let command = format!("{} --store {}", quoted(self.program), quoted(self.store));
        // Hidden homes would hide a store that is in one.
        let is_in_home = ["/home", "/root", "/run/user"]
            .iter()
            .any(|home| folder.starts_with(home) || self.archive.is_some_and(|path| path.starts_with(home)));
        let homes = if is_in_home { "read-only" } else { "yes" };
        let user = self.user;
        let stop = self.drain_seconds + 10;
        let archive = self.archive.map(|path| format!(" {}", quoted(path)));
        let written = quoted(folder) + &archive.unwrap_or_default();
        format!(
            "[Unit]
Description=impaxlink, cluster linking for medical imaging archives
Documentation=man:impaxlink(1) man:impaxlink-serve(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={command} serve
ExecReload={command} reload
User={user}
Restart=on-failure
RestartSec=2
WatchdogSec=30
TimeoutStopSec={stop}
LimitNOFILE=65536
UMask=0077

# DICOM's own port, 104, is a privileged one.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ReadWritePaths={written}
ProtectSystem=strict
ProtectHome={homes}
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
PrivateMounts=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
"
        )
    }
}

/// A path as systemd reads it: percent signs begin its specifiers, spaces end a word.
fn quoted(path: &Path) -> String {
    let text = path
        .to_string_lossy()
        .replace('%', "%%")
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    if text.contains([' ', '\'', '"', ';', '$']) {
        format!("\"{}\"", text.replace('$', "$$"))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(store: &str) -> String {
        text_with(store, None)
    }

    fn text_with(store: &str, archive: Option<&str>) -> String {
        let unit = Unit {
            program: Path::new("/usr/bin/impaxlink"),
            store: Path::new(store),
            archive: archive.map(Path::new),
            user: "pacs",
            drain_seconds: 30,
        };
        unit.text()
    }

    #[test]
    fn the_store_alone_can_be_written() {
        let unit = text("/var/lib/impaxlink/impaxlink.db");
        assert!(
            unit.contains("ExecReload=/usr/bin/impaxlink --store /var/lib/impaxlink/impaxlink.db reload\n")
        );
        assert!(unit.contains("ReadWritePaths=/var/lib/impaxlink\n") && unit.contains("ProtectHome=yes\n"));
        assert!(unit.contains("User=pacs\n") && unit.contains("TimeoutStopSec=40\n"));
    }

    #[test]
    fn an_archive_elsewhere_can_be_written_too() {
        let unit = text_with("/var/lib/impaxlink/impaxlink.db", Some("/srv/my archive"));
        assert!(
            unit.contains("ReadWritePaths=/var/lib/impaxlink \"/srv/my archive\"\n"),
            "{unit}"
        );
    }

    #[test]
    fn a_store_in_a_home_stays_in_sight_and_odd_paths_are_quoted() {
        let unit = text("/home/j doe/100%/s.db");
        assert!(
            unit.contains("--store \"/home/j doe/100%%/s.db\" serve\n"),
            "{unit}"
        );
        assert!(unit.contains("ProtectHome=read-only\n"));
    }
}
