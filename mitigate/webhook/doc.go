// Package webhook tells an application or a fraud system what verdicts are in force, over
// HTTP: signed, in order, and again until it is answered.
//
// A [Target] POSTs messages of JSON (see [Setup] for what is in them) to one URL. They are
// signed as Standard Webhooks 1.0.0 has it (HMAC-SHA-256 over id, timestamp and body; ready
// verifiers exist for most languages), by two keys while one follows the other. The id is
// the idempotency key: a message that is sent again keeps it, and what is sent again may
// have been received before.
//
// It carries every action and subject, above all the hold of an account, which no load
// balancer can match. Whether the receiver acts is its own affair: it counts nothing, so
// [Target.Hits] has none, and as an [mitigate.Informer] this target does not make the
// engine believe that anybody is kept out. Nor can it be read back: [Target.Sync] therefore
// sends everything, followed by a message that ends what was not among it, and
// [Target.Mode] is what the receiver last said yes to. A receiver may say two things in the
// header of an answer: Offpath-Receiver, a name for its state, a change of which has
// everything sent at once; and Offpath-Mode: off, that a person has turned it off there.
//
// The expiry is in each verdict, for the receiver to compare with its own clock; that it
// has come is told within a minute besides. Orders are sent one after the other. One that
// gets no answer, or 408, 429 or 5xx, is repeated a few times within the order's deadline
// and then fails; from then on nothing but the kill switch is sent before a time that
// doubles up to a minute, or that Retry-After says, has passed, and then a ping, and
// everything. Any other 4xx is a rejection. Of several verdicts in one message that is
// rejected for its content, halves are sent, so that one does not take others with it.
// Redirects are not followed, proxies of the environment not used, and of an answer no
// more is read than its head and 1 KiB.
//
// Beside the caller's it has no goroutine but those of net/http. It remembers what was
// acknowledged: [DefaultCapacity] verdicts at most.
package webhook
