//! The embedded archive: files and folders imported.

use std::fs;
use std::ops::ControlFlow;

use dicom_dictionary_std::tags;
use impaxlink::archive::ImportCounts;

use super::support::archive::{Object, dicom_file, files, import, new_archive};
use super::support::studies::Federation;

#[test]
fn an_import_takes_what_is_dicom_and_can_be_repeated() {
    let (folder, archive) = new_archive();
    let federation = Federation::new(5, 12);
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    let site = federation.site("SITEA");
    let instances: usize = site
        .studies
        .iter()
        .map(|study| study.write_files(&source.join("deep")))
        .sum();
    fs::write(source.join("notes.txt"), "no DICOM").unwrap();
    fs::write(source.join("empty"), "").unwrap();
    let some = files(&source.join("deep")).into_iter().next().unwrap();
    let bytes = fs::read(&some).unwrap();
    fs::write(source.join("deep/er/cut.dcm"), &bytes[..bytes.len() - 40]).unwrap();
    fs::write(source.join("deep/er/again.dcm"), &bytes).unwrap();
    std::os::unix::fs::symlink(&source, source.join("deep/er/loop")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, source.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    let directory = Object::new(1).with(tags::SOP_CLASS_UID, "1.2.840.10008.1.3.10");
    fs::write(source.join("DICOMDIR"), dicom_file(&directory)).unwrap();

    let counts = import(&archive, &source);
    let expected = ImportCounts {
        stored: instances as u64,
        already_stored: 1,
        not_dicom: 2,
        directories: 1,
        damaged: 1,
        ..ImportCounts::default()
    };
    assert_eq!(counts, expected);
    let again = import(&archive, &source);
    assert_eq!(
        again,
        ImportCounts {
            stored: 0,
            already_stored: instances as u64 + 1,
            ..expected
        }
    );
    let stats = archive.stats().unwrap();
    assert_eq!(
        (stats.instances, stats.studies),
        (instances as u64, site.studies.len() as u64)
    );
    let missing = import(&archive, &source.join("nowhere"));
    assert_eq!(
        missing,
        ImportCounts {
            unreachable: 1,
            ..ImportCounts::default()
        }
    );
    let uid = some.file_stem().unwrap().to_string_lossy().into_owned();
    let stored = archive.instance(&uid).unwrap().unwrap();
    assert_eq!(fs::read(stored.path).unwrap(), bytes);
}

#[test]
fn an_import_can_be_broken_off_and_continued() {
    let (folder, archive) = new_archive();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    (0..200).for_each(|number| {
        fs::write(source.join(format!("{number}")), dicom_file(&Object::new(number))).unwrap();
    });
    let paths = [source.clone()];
    let counts = archive.import(&paths, false, |_, _, counts| match counts.stored {
        10.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(counts.unwrap().stored, 10);
    let so_far = archive.stats().unwrap().instances;
    assert!((10..200).contains(&so_far), "{so_far}");
    let rest = import(&archive, &source);
    assert_eq!((rest.stored, rest.already_stored), (200 - so_far, so_far));
}

#[test]
fn damaged_files_are_never_more_than_damaged() {
    let (folder, archive) = new_archive();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    let sound = dicom_file(&Object::new(1).with(tags::STUDY_DATE, "20240131"));
    let mut written = 0;
    for at in (0..sound.len()).step_by(3) {
        let mut cut = sound.clone();
        cut.truncate(at);
        fs::write(source.join(format!("cut{at}")), cut).unwrap();
        for value in [0x00, 0xff] {
            let mut damaged = sound.clone();
            damaged[at] = value;
            fs::write(source.join(format!("damaged{at}-{value}")), damaged).unwrap();
            written += 1;
        }
        written += 1;
    }
    let counts = import(&archive, &source);
    assert!(
        counts.damaged > 20 && counts.not_dicom > 20 && counts.stored >= 1,
        "{counts:?}"
    );
    assert_eq!(counts.unreachable, 0, "{counts:?}");
    let all = counts.stored + counts.already_stored + counts.kept_aside + counts.damaged + counts.not_dicom;
    assert_eq!(all + counts.directories, written);
}
