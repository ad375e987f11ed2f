//! A running `impaxlink serve` with a configuration of its own, and DCMTK's `echoscu` as its caller.
//!
//! Invariant: when `Service::start` returns, it answers. The configuration is saved through the library, as fast as a
//! test needs it; what the command line does with it is the tests' own subject.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use impaxlink::audit::Attribution;
use impaxlink::dimse::{Association, Error, RequestorOptions, connect, uids};
use impaxlink::model::{Configuration, Endpoint, Generation, Invalid, Station};
use impaxlink::service::control::{self, ServiceStatus};
use impaxlink::store::{Access, Store};

use super::env::Env;
use super::process::{Process, free_port};

/// How long anything may take that is only waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The running service.
pub struct Service {
    pub env: Env,
    pub process: Process,
    pub port: u16,
}

impl Service {
    /// Starts it with these stations, listening on a free port.
    pub fn start(stations: Vec<Station>) -> Self {
        Self::start_with(|configuration| {
            configuration.stations = stations;
        })
    }

    /// Starts it with a configuration that `edit` has made.
    pub fn start_with(edit: impl FnOnce(&mut Configuration)) -> Self {
        let env = Env::new();
        let port = free_port();
        save(&env, |configuration| {
            set(configuration, "listen", &format!("127.0.0.1:{port}"));
            edit(configuration);
        });
        let process = start(&env);
        Service { env, process, port }
    }

    /// Saves a change, and leaves the service as it is.
    pub fn save(&self, edit: impl FnOnce(&mut Configuration)) -> Generation {
        save(&self.env, edit)
    }

    /// What the service says of itself.
    pub fn status(&self) -> ServiceStatus {
        control::status(&self.env.store(), PATIENCE).expect("a running service tells its status")
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        control::socket_path(&self.env.store()).expect("the store is there")
    }

    /// Waits until `ready` says so of its status.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut ready: impl FnMut(&ServiceStatus) -> bool) {
        wait_for(what, || ready(&self.status()));
    }

    /// Waits until `status` counts so many study UIDs found with two patients.
    pub fn wait_for_conflicts(&self, count: u64) {
        wait_for("the conflicts in 'status'", || {
            self.env.impaxlink(&["status", "--json"]).json()["conflicts"] == count
        });
    }

    /// Its log, once it has this text: what a caller is answered may reach it before the log is written.
    #[track_caller]
    pub fn log_with(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.process.output();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < deadline, "no {text:?} in {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What `echoscu` says when it calls as `calling`, and whether it got its answer.
    pub fn echo(&self, calling: &str, called: &str) -> (bool, String) {
        echo(self.port, calling, called)
    }

    /// An association by our own requestor.
    pub async fn associate(&self, calling: &str) -> Result<Association, Error> {
        associate(self.port, calling).await
    }
}

/// Starts `impaxlink serve` in `env` and waits until it answers.
pub fn start(env: &Env) -> Process {
    let mut process = env.start(&["serve", "-v"]);
    let store = env.store();
    process.wait_until("an answer on the control socket", || {
        control::ping(&store, PATIENCE).is_ok()
    });
    process
}

/// Saves a change of the configuration.
pub fn save(env: &Env, edit: impl FnOnce(&mut Configuration)) -> Generation {
    let store = Store::open(&env.store(), Access::ReadWrite).expect("a store");
    let edit = |configuration: &mut Configuration| {
        edit(configuration);
        Ok::<(), Invalid>(())
    };
    store.save(&tester(), None, edit).expect("a save").generation
}

fn tester() -> Attribution {
    Attribution {
        user: "tester".to_owned(),
        uid: 1000,
        real_user: None,
        command: "a test".to_owned(),
        reason: Some("CHG1".to_owned()),
    }
}

/// Sets a setting of the local cluster.
pub fn set(configuration: &mut Configuration, key: &str, value: &str) {
    configuration.settings.set(key, value).expect("a valid setting");
}

/// A station on this machine, by its name as AE title.
pub fn station(name: &str, port: u16) -> Station {
    let endpoint = Endpoint {
        host: "127.0.0.1".parse().unwrap(),
        port: port.try_into().unwrap(),
    };
    Station::new(name.parse().unwrap(), name.parse().unwrap(), Some(endpoint))
}

/// What `echoscu` says, and whether it got its answer. It exits with 0 when the peer aborts.
pub fn echo(port: u16, calling: &str, called: &str) -> (bool, String) {
    let output = Command::new("echoscu")
        .env("TCP_NODELAY", "1")
        .args([
            "-v", "-aet", calling, "-aec", called, "-to", "20", "-ta", "20", "-td", "20",
        ])
        .args(["127.0.0.1", &port.to_string()])
        .output()
        .expect("echoscu runs (package dcmtk)");
    let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.push_str(&String::from_utf8_lossy(&output.stderr));
    let answered = output.status.success() && log.contains("Received Echo Response (Success)");
    (answered, log)
}

/// An association of `calling` with the service on this port.
pub async fn associate(port: u16, calling: &str) -> Result<Association, Error> {
    let endpoint = Endpoint {
        host: Ipv4Addr::LOCALHOST.to_string().parse().unwrap(),
        port: port.try_into().unwrap(),
    };
    let mut options = RequestorOptions::new(
        calling.parse().unwrap(),
        "IMPAXLINK".parse().unwrap(),
        &[uids::VERIFICATION],
    );
    options.connect_timeout = PATIENCE;
    options.associate_timeout = PATIENCE;
    connect(&endpoint, &options).await
}

/// Waits until `ready` says so.
#[track_caller]
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "no sign of {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs `future` on a runtime of a few threads.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(future)
}
