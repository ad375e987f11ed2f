//! Starts real archives that hold the made-up federation: SITEA on dcmqrscp, SITEB on Orthanc, SITEC on dcmqrscp.
//!
//! Prints shell assignments, one a line, the last of them `READY=1`; ends, and the archives with it, when standard
//! input does.

use std::io;

use clap::Parser;

#[path = "../it/support/archive_options.rs"]
mod archive_options;
#[allow(dead_code, reason = "what the tests ask of a peer")]
#[path = "../it/support/dcmqrscp.rs"]
mod dcmqrscp;
#[allow(dead_code, reason = "what the tests ask of a peer")]
#[path = "../it/support/orthanc.rs"]
mod orthanc;
#[allow(dead_code, reason = "what the tests ask of a program")]
#[path = "../it/support/process.rs"]
mod process;
#[allow(dead_code, reason = "what the tests ask of the federation")]
#[path = "../it/support/studies/mod.rs"]
mod studies;

use archive_options::ArchiveOptions;

/// Start real archives with made-up studies, until standard input ends.
#[derive(Parser)]
struct Options {
    /// How many studies each site acquired, at least 4; copies from other sites come on top.
    #[arg(long, default_value_t = 40)]
    studies: usize,
    /// Leave Nagle's algorithm on, as the archives come.
    #[arg(long)]
    as_they_come: bool,
    /// Start only the archive of this AE title.
    #[arg(long)]
    only: Option<String>,
    /// How many instances the study that is at SITEA and, whole, at SITEB has, where not as many as come.
    #[arg(long)]
    instances: Option<usize>,
    /// The port of a move destination MOVESCU on this machine.
    #[arg(long)]
    movescu: Option<u16>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut federation = studies::Federation::new(1, options.studies.max(4));
    if let Some(count) = options.instances {
        enlarge(&mut federation, count);
    }
    let [a, b, c] = &federation.sites;
    let of = |site: &studies::Site| ArchiveOptions {
        tcp_nodelay: !options.as_they_come,
        move_destinations: options
            .movescu
            .map(|port| ("MOVESCU", port))
            .into_iter()
            .collect(),
        ..ArchiveOptions::new(site.ae_title)
    };
    let is_wanted = |site: &&studies::Site| options.only.as_ref().is_none_or(|only| only == site.ae_title);
    let dcmqrscp = |site| {
        Some(site)
            .filter(is_wanted)
            .map(|site| dcmqrscp::Dcmqrscp::start_with(&of(site), &site.studies))
    };
    let (site_a, site_c) = (dcmqrscp(a), dcmqrscp(c));
    let site_b = Some(b)
        .filter(is_wanted)
        .map(|site| orthanc::Orthanc::start_with(&of(site), &site.studies));
    let ports = [
        ("SITEA", site_a.as_ref().map(|site| site.port)),
        ("SITEB", site_b.as_ref().map(|site| site.port)),
        ("SITEC", site_c.as_ref().map(|site| site.port)),
    ];
    for (name, port) in ports {
        if let Some(port) = port {
            println!("{name}_PORT={port}");
        }
    }
    println!("SHARED_PATIENT_ID={}", federation.shared_patient_id);
    println!("FULL_COPY={}", federation.full_copy);
    println!("PARTIAL_COPY={}", federation.partial_copy);
    println!("CONFLICT={}", federation.conflict);
    println!("READY=1");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Gives the study of the whole copy so many instances, wherever it is.
fn enlarge(federation: &mut studies::Federation, count: usize) {
    let uid = federation.full_copy.clone();
    let studies = federation.sites.iter_mut().flat_map(|site| &mut site.studies);
    for study in studies.filter(|study| study.uid == uid) {
        let per_series = count / study.series.len();
        for series in &mut study.series {
            series.instances = (1..=per_series)
                .map(|number| format!("{}.{number}", series.uid))
                .collect();
        }
    }
}
