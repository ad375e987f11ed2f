//! Measures the embedded archive by itself, without network: searches of large indexes, and how fast it stores.
//!
//! The rows of the large index are copies of one real row with other numbers in it, written past the archive: a million
//! objects would take an hour to store.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use impaxlink::archive::{Announced, Archive, Key, Level, Query, Root, Search};
use impaxlink::dimse::{DataSetBuilder, TransferSyntax};

/// Measure the embedded archive.
#[derive(Parser)]
struct Options {
    /// The folder of the archive, made anew.
    folder: PathBuf,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Search an index of so many studies: one by patient ID, all of one name, and 10,000 of a range of dates.
    Find { studies: u32 },
    /// Store objects, each of so many bytes of pixel data, by so many senders at once.
    Store {
        objects: usize,
        bytes: usize,
        senders: usize,
    },
    /// Write and sync files of the same sizes, one after the other, and nothing else.
    Write { objects: usize, bytes: usize },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    match options.work {
        Work::Find { studies } => find(&options.folder, studies)?,
        Work::Store {
            objects,
            bytes,
            senders,
        } => store(&options.folder, objects, bytes, senders)?,
        Work::Write { objects, bytes } => write(&options.folder, objects, bytes)?,
    }
    Ok(())
}

/// Seven digits, so that one number can stand for another.
const FIRST: u32 = 1_000_000;

fn object(number: u32, pixels: usize) -> (Announced, Vec<u8>) {
    let uid = |kind: u32| format!("1.2.826.0.1.3680043.2.{kind}.{number}");
    let elements = [
        (tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE.to_owned()),
        (tags::SOP_INSTANCE_UID, VR::UI, uid(1)),
        (tags::STUDY_DATE, VR::DA, "20240131".to_owned()),
        (tags::STUDY_TIME, VR::TM, "103000".to_owned()),
        (tags::ACCESSION_NUMBER, VR::SH, format!("A{number}")),
        (tags::MODALITY, VR::CS, "CT".to_owned()),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, "HOUSE^G".to_owned()),
        (
            tags::STUDY_DESCRIPTION,
            VR::LO,
            "ABDOMEN WITH CONTRAST".to_owned(),
        ),
        (tags::PATIENT_NAME, VR::PN, format!("N{number}^JANE")),
        (tags::PATIENT_ID, VR::LO, format!("P{number}")),
        (tags::ISSUER_OF_PATIENT_ID, VR::LO, "NORTH".to_owned()),
        (tags::PATIENT_BIRTH_DATE, VR::DA, "19700101".to_owned()),
        (tags::PATIENT_SEX, VR::CS, "F".to_owned()),
        (tags::STUDY_INSTANCE_UID, VR::UI, uid(3)),
        (tags::SERIES_INSTANCE_UID, VR::UI, uid(2)),
        (tags::STUDY_ID, VR::SH, "1".to_owned()),
        (tags::SERIES_NUMBER, VR::IS, "1".to_owned()),
        (tags::INSTANCE_NUMBER, VR::IS, "1".to_owned()),
    ];
    let builder = elements
        .iter()
        .fold(DataSetBuilder::new(), |builder, (tag, vr, value)| {
            builder.put(*tag, *vr, value.as_bytes())
        });
    let builder = builder.put(tags::PIXEL_DATA, VR::OW, vec![7; pixels]);
    let syntax = TransferSyntax::ExplicitVrLittleEndian;
    let announced = Announced {
        sop_class_uid: uids::CT_IMAGE_STORAGE.parse().expect("a UID"),
        sop_instance_uid: uid(1).parse().expect("a UID"),
        transfer_syntax_uid: syntax.uid().parse().expect("a UID"),
        source: None,
    };
    (
        announced,
        builder.encode(syntax).expect("a data set").bytes().to_vec(),
    )
}

fn find(folder: &Path, studies: u32) -> Result<(), Box<dyn std::error::Error>> {
    let archive = Archive::open(folder)?;
    let (announced, data_set) = object(FIRST, 32);
    let mut incoming = archive.receive(announced)?;
    incoming.write(&data_set)?;
    incoming.finish()?;
    drop(archive);
    multiply(&folder.join("index.db"), studies)?;
    let archive = Archive::open(folder)?;

    let mut latencies = Vec::new();
    for number in 0..2000_u32 {
        let id = format!("P{}", FIRST + number.wrapping_mul(2_654_435_761) % studies);
        let search = Search::new(&study_query(&[(tags::PATIENT_ID, &id)]))?;
        let begin = Instant::now();
        let given = archive.find(&search, |_| ControlFlow::Continue(()))?;
        latencies.push(begin.elapsed());
        assert_eq!(given, 1, "{id}");
    }
    latencies.sort();
    let at = |share: usize| latencies[latencies.len() * share / 1000];
    println!(
        "{studies} studies: one by patient ID: median {:?}, p99 {:?}",
        at(500),
        at(990)
    );
    let name = format!("n{FIRST}*");
    measure(
        &archive,
        "one by name with a wildcard",
        &[(tags::PATIENT_NAME, &name)],
        usize::MAX,
    )?;
    measure(
        &archive,
        "at most 10,000 of a range of dates",
        &[(tags::STUDY_DATE, "20240101-20241231")],
        10_000,
    )?;
    measure(
        &archive,
        "all of a description, without index",
        &[(tags::STUDY_DESCRIPTION, "*NO SUCH*")],
        usize::MAX,
    )?;
    Ok(())
}

fn study_query(keys: &[(Tag, &str)]) -> Query {
    let wanted = [
        tags::STUDY_INSTANCE_UID,
        tags::PATIENT_NAME,
        tags::PATIENT_ID,
        tags::ISSUER_OF_PATIENT_ID,
        tags::PATIENT_BIRTH_DATE,
        tags::PATIENT_SEX,
        tags::STUDY_DATE,
        tags::STUDY_TIME,
        tags::ACCESSION_NUMBER,
        tags::MODALITIES_IN_STUDY,
        tags::STUDY_DESCRIPTION,
        tags::REFERRING_PHYSICIAN_NAME,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    ];
    let keys = keys.iter().copied().chain(wanted.map(|tag| (tag, "")));
    Query {
        root: Root::Study,
        level: Level::Study,
        keys: keys.map(|(tag, value)| Key::text(tag, value)).collect(),
        combined_datetime: false,
    }
}

fn measure(
    archive: &Archive,
    what: &str,
    keys: &[(Tag, &str)],
    limit: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut runs = Vec::new();
    let mut rows = 0;
    for _ in 0..7 {
        let search = Search::new(&study_query(keys))?;
        let (begin, cpu, mut given) = (Instant::now(), cpu_time()?, 0);
        archive.find(&search, |row| {
            std::hint::black_box(row);
            given += 1;
            if given == limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        rows = given;
        runs.push((begin.elapsed(), cpu_time()? - cpu));
    }
    runs.sort();
    let (wall, cpu) = runs[runs.len() / 2];
    println!("  {what}: {rows} rows in {wall:?}, CPU {cpu:?}");
    Ok(())
}

/// What this thread has computed so far.
fn cpu_time() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| io::Error::other("no schedstat"))
}

/// Copies the one study until there are so many.
fn multiply(index: &Path, studies: u32) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = rusqlite::Connection::open(index)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -400_000)?;
    let patient: Vec<u8> = connection.query_row("SELECT attributes FROM patient", [], |row| row.get(0))?;
    let study: Vec<u8> = connection.query_row("SELECT attributes FROM study", [], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    {
        let mut patients = transaction.prepare(
            "INSERT INTO patient (key, patient_id, issuer, studies, series, instances, attributes)
             VALUES (?1, ?2, 'NORTH', 1, 1, 1, ?3)",
        )?;
        let mut names = transaction.prepare("INSERT INTO patient_name VALUES (?1, ?2)")?;
        let mut rows = transaction.prepare(
            "INSERT INTO study (key, patient, uid, date, accession_number, modalities, sop_classes, series, instances,
             bytes, attributes) SELECT ?1, ?1, ?2, date, ?3, modalities, sop_classes, series, instances, bytes, ?4
             FROM study WHERE key = 1",
        )?;
        for number in 1..studies {
            let (key, number) = (number + 1, FIRST + number);
            patients.execute((key, format!("P{number}"), renumbered(&patient, number)))?;
            names.execute((format!("n{number}^jane"), key))?;
            let uid = format!("1.2.826.0.1.3680043.2.3.{number}");
            rows.execute((key, uid, format!("A{number}"), renumbered(&study, number)))?;
        }
    }
    transaction.commit()?;
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").ok();
    Ok(())
}

fn renumbered(blob: &[u8], number: u32) -> Vec<u8> {
    let (old, new) = (FIRST.to_string(), number.to_string());
    let mut blob = blob.to_vec();
    for at in 0..=blob.len() - old.len() {
        if blob[at..].starts_with(old.as_bytes()) {
            blob[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
    }
    blob
}

fn store(
    folder: &Path,
    objects: usize,
    bytes: usize,
    senders: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let archive = Archive::open(folder)?;
    let next = AtomicUsize::new(0);
    // Made once, as what comes over a network is not made here: only the number differs.
    let (_, template) = object(FIRST, bytes);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..senders {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= objects {
                        return;
                    }
                    let number = FIRST + number as u32;
                    let (announced, _) = object(number, 0);
                    let mut incoming = archive.receive(announced).expect("an incoming object");
                    let header = renumbered(&template[..template.len() - bytes], number);
                    incoming.write(&header).expect("room");
                    for piece in template[template.len() - bytes..].chunks(64 * 1024) {
                        incoming.write(piece).expect("room");
                    }
                    incoming.finish().expect("a stored object");
                }
            });
        }
    });
    report("stored", objects, bytes, begin.elapsed());
    Ok(())
}

fn write(folder: &Path, objects: usize, bytes: usize) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let piece = vec![7; 64 * 1024];
    let begin = Instant::now();
    for number in 0..objects {
        let mut file = fs::File::create(folder.join(number.to_string()))?;
        let mut left = bytes;
        while left > 0 {
            let length = left.min(piece.len());
            file.write_all(&piece[..length])?;
            left -= length;
        }
        file.sync_all()?;
    }
    report("written", objects, bytes, begin.elapsed());
    Ok(())
}

fn report(what: &str, objects: usize, bytes: usize, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    let megabytes = (objects * bytes) as f64 / 1e6;
    println!(
        "{what} {objects} in {seconds:.3} s: {:.0}/s, {:.0} MB/s",
        objects as f64 / seconds,
        megabytes / seconds
    );
}
