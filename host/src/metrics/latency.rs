//! CallTimes: how long an agent's calls took, as a histogram of Prometheus. The agent's own buckets are the ones that
//! count; this shows them.

use std::sync::{Arc, Mutex, PoisonError};

use postern_agent::Latency;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The histogram of one connector.
#[derive(Clone, Debug, Default)]
pub struct CallTimes(Arc<Mutex<Latency>>);

impl CallTimes {
    /// Shows what was counted so far.
    pub fn show(&self, latency: Latency) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }
}

impl TypedMetric for CallTimes {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for CallTimes {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let latency = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets: Vec<_> = latency.buckets().collect();
        encoder.encode_histogram::<NoLabelSet>(latency.seconds(), latency.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
