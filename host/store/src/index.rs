//! QueueIndex: what is due, what is leased, which queues exist. In memory, shared by every backend.
