//! A made-up federation of three sites, each with patients and studies, and the overlaps that make linked queries hard.
//!
//! Invariant: a pure function of the seed and the size. Every UID derives from them, so that two runs, or a test and
//! the peer it loaded, speak of the same studies. How a study becomes DICOM bytes is in `files`, the names in `names`.

mod files;
mod names;

use names::{NAMES, PHYSICIANS};

/// The three sites and the studies that each test of merging needs by name.
pub struct Federation {
    /// `SITEA`, `SITEB` and `SITEC`.
    pub sites: [Site; 3],
    /// Study Instance UID of a study that is at SITEA and, whole, at SITEB.
    pub full_copy: String,
    /// Study Instance UID of a study that is at SITEA and, in part, at SITEB.
    pub partial_copy: String,
    /// Study Instance UID that stands for one patient at SITEA and for another, of the same issuer, at SITEC.
    pub conflict: String,
    /// A patient ID that every site gave, each to another person.
    pub shared_patient_id: &'static str,
}

/// One site: its archive's AE title, the issuer of its patient IDs, and what its archive holds.
pub struct Site {
    pub ae_title: &'static str,
    pub issuer: &'static str,
    pub studies: Vec<Study>,
}

/// A person as one site knows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Patient {
    pub id: String,
    pub issuer: &'static str,
    /// In Unicode, components divided by `^`, component groups by `=`.
    pub name: &'static str,
    /// Specific Character Set of everything that is written of this patient.
    pub character_set: &'static str,
    /// `YYYYMMDD`
    pub birth_date: String,
    pub sex: &'static str,
}

/// A study and the instances of it that are at one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    pub patient: Patient,
    pub uid: String,
    /// `YYYYMMDD`
    pub date: String,
    /// `HHMMSS`
    pub time: String,
    pub accession_number: String,
    pub id: String,
    pub description: &'static str,
    pub referring_physician: &'static str,
    pub series: Vec<Series>,
}

/// A series, and the SOP Instance UIDs of its instances in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub uid: String,
    pub number: u32,
    pub modality: &'static str,
    pub description: &'static str,
    pub body_part: &'static str,
    pub instances: Vec<String>,
}

impl Federation {
    /// Three sites which each acquired `studies_per_site` (at least 4); copies come on top.
    pub fn new(seed: u64, studies_per_site: usize) -> Self {
        assert!(
            studies_per_site >= 4,
            "a federation needs four studies at each site"
        );
        let [a, mut b, mut c] = [
            ("SITEA", "NORTH", 'A'),
            ("SITEB", "HARBOUR", 'B'),
            ("SITEC", "VALLEY", 'C'),
        ]
        .map(|(ae_title, issuer, letter)| Site {
            ae_title,
            issuer,
            studies: (0..studies_per_site)
                .map(|number| acquire(seed, issuer, letter, number))
                .collect(),
        });
        let acquired_at_b = b.studies.len();
        for (number, study) in a.studies.iter().enumerate() {
            match number % 8 {
                0 => b.studies.push(study.clone()),
                1 => b.studies.push(study.first_series_only()),
                _ => {}
            }
        }
        let copies = b.studies[..acquired_at_b].iter().step_by(8).cloned();
        c.studies.extend(copies);
        c.studies.push(same_uid_other_patient(seed, &a.studies[2]));
        Federation {
            full_copy: a.studies[0].uid.clone(),
            partial_copy: a.studies[1].uid.clone(),
            conflict: a.studies[2].uid.clone(),
            shared_patient_id: SHARED_PATIENT_ID,
            sites: [a, b, c],
        }
    }

    /// The site whose archive has this AE title.
    pub fn site(&self, ae_title: &str) -> &Site {
        let site = self.sites.iter().find(|site| site.ae_title == ae_title);
        site.expect("one of SITEA, SITEB, SITEC")
    }
}

impl Study {
    /// Number of instances, over all series.
    pub fn instances(&self) -> usize {
        self.series.iter().map(|series| series.instances.len()).sum()
    }

    fn first_series_only(&self) -> Study {
        let mut part = self.clone();
        part.series.truncate(1);
        part
    }
}

const SHARED_PATIENT_ID: &str = "4711";

/// Modality, study description, body part and what its two series are called.
const EXAMINATIONS: [(&str, &str, &str, [&str; 2]); 6] = [
    ("CT", "CHEST", "CHEST", ["SCOUT", "LUNG 1.0"]),
    ("MR", "BRAIN", "BRAIN", ["LOCALIZER", "T2 TSE"]),
    ("CR", "HAND LEFT", "HAND", ["PA", "OBLIQUE"]),
    ("CT", "ABDOMEN WITH CONTRAST", "ABDOMEN", ["NATIVE", "PORTAL"]),
    ("US", "ABDOMEN", "ABDOMEN", ["LIVER", "KIDNEYS"]),
    ("DX", "CHEST PA/LAT", "CHEST", ["PA", "LATERAL"]),
];

/// Three studies a patient, the first of them of the patient whose ID every site uses.
fn acquire(seed: u64, issuer: &'static str, letter: char, number: usize) -> Study {
    let mut dice = Dice::new(seed, &format!("{letter}{number}"));
    let (modality, description, body_part, series_names) = EXAMINATIONS[number % EXAMINATIONS.len()];
    let series = series_names
        .into_iter()
        .zip(1..)
        .map(|(description, number)| Series {
            uid: dice.uid(),
            number,
            modality,
            description,
            body_part,
            instances: (0..1 + dice.below(3)).map(|_| dice.uid()).collect(),
        })
        .collect();
    Study {
        patient: patient(seed, issuer, letter, number / 3),
        uid: dice.uid(),
        date: format!(
            "{}",
            20_150_101 + dice.below(10) * 10_000 + dice.below(12) * 100 + dice.below(28)
        ),
        time: format!("{:02}{:02}{:02}", dice.below(24), dice.below(60), dice.below(60)),
        accession_number: format!("{letter}{:07}", 1000 + number),
        id: format!("{number}"),
        description,
        referring_physician: PHYSICIANS[number % PHYSICIANS.len()],
        series,
    }
}

fn patient(seed: u64, issuer: &'static str, letter: char, number: usize) -> Patient {
    let mut dice = Dice::new(seed, &format!("patient {letter}{number}"));
    // Each site starts elsewhere in the list, so that the shared ID means another person at each.
    let offset = (u32::from(letter) - u32::from('A')) as usize * 5;
    let (name, character_set, sex) = NAMES[(number + offset) % NAMES.len()];
    Patient {
        id: match number {
            0 => SHARED_PATIENT_ID.to_owned(),
            _ => format!("{letter}{}", 100_000 + number),
        },
        issuer,
        name,
        character_set,
        birth_date: format!(
            "{}",
            19_300_101 + dice.below(80) * 10_000 + dice.below(12) * 100 + dice.below(28)
        ),
        sex,
    }
}

fn same_uid_other_patient(seed: u64, study: &Study) -> Study {
    let mut dice = Dice::new(seed, "conflict");
    let mut other = study.clone();
    other.patient.id = format!("{}9", study.patient.id);
    (other.patient.name, other.patient.character_set, other.patient.sex) = NAMES[9];
    for series in &mut other.series {
        series.uid = dice.uid();
        series.instances.iter_mut().for_each(|uid| *uid = dice.uid());
    }
    other
}

/// SplitMix64: a small generator whose sequence will not change under the tests, as a library's may.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a
        let hash = purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Dice(hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn uid(&mut self) -> String {
        let number = (u128::from(self.next()) << 64) | u128::from(self.next());
        format!("2.25.{number}")
    }
}
