//! The five switches of cluster linking, as the administration screen of the classic PACS has them.
//!
//! Invariant: an option counts only while the master switch is on; it is kept while that is off.

/// The master switch and its four options, as saved. Ask `allows_…` for what is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFlags {
    /// Cluster Linking: opens the station to other clusters.
    pub cluster_linking: bool,
    /// Link Internal Queries: internal queries also go to this cluster.
    pub internal_queries: bool,
    /// Link External Queries: external queries also go to this cluster, in strict DICOM.
    pub external_queries: bool,
    /// Link Cluster Updates: changes are relayed to and accepted from this cluster.
    pub cluster_updates: bool,
    /// Link Prefetching: this cluster's studies count among the relevant priors.
    pub prefetching: bool,
}

impl LinkFlags {
    /// Whether an internal query goes to this station.
    pub fn allows_internal_queries(self) -> bool {
        self.cluster_linking && self.internal_queries
    }

    /// Whether an external query goes to this station.
    pub fn allows_external_queries(self) -> bool {
        self.cluster_linking && self.external_queries
    }

    /// Whether this station's studies may be priors.
    pub fn allows_prefetching(self) -> bool {
        self.cluster_linking && self.prefetching
    }

    /// Whether any option is on that has no effect because the master switch is off.
    pub fn has_idle_options(self) -> bool {
        let any = self.internal_queries || self.external_queries || self.cluster_updates || self.prefetching;
        any && !self.cluster_linking
    }
}
