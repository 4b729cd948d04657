// Package stream carries transactions and verdicts over Kafka: a transport,
// not a second code path. What a [Consumer] emits has the order and the
// content that the sensors' mergers gave it, so the engine behind it decides
// the same as in one process.
//
// Transactions go to one topic as protobuf (package schema), keyed by the
// effective client, so that a client's transactions share a partition.
// Verdicts go to a second topic as the contract's JSON, keyed by verdict id.
//
// Order: every message carries, in record headers, its sensor, the sensor's
// epoch (a number of its own per start), a sequence number per partition, and
// a watermark: no later message of that sensor on that partition holds a
// transaction that ends before it. A sensor writes a message without a value,
// a bare watermark, to the partitions that it has nothing else for. The
// consumer merges the partitions behind the lowest watermark.
//
// Concurrency: a [Producer] has one goroutine that writes, fed by a bounded
// queue; a [Consumer] has one per partition and emits serially.
package stream

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/segmentio/kafka-go"
)

// Names of the record headers.
const (
	headerSensor    = "offpath-sensor"    // text
	headerEpoch     = "offpath-epoch"     // decimal
	headerSequence  = "offpath-sequence"  // decimal, from 0 on each partition
	headerWatermark = "offpath-watermark" // decimal, ns since the epoch
	headerFinal     = "offpath-final"     // present on the last message of a sensor that ends in good order
)

// Defaults of the configuration.
const (
	DefaultTransactionsTopic = "offpath.transactions"
	DefaultVerdictsTopic     = "offpath.verdicts"
	DefaultGroup             = "offpath-detect"
	DefaultPartitions        = 8
)

var errHeader = errors.New("record header missing or malformed")

// envelope is what the record headers say.
type envelope struct {
	sensor    string
	epoch     int64
	sequence  int64
	watermark int64
	final     bool
}

func (e *envelope) headers() []kafka.Header {
	headers := []kafka.Header{
		{Key: headerSensor, Value: []byte(e.sensor)},
		{Key: headerEpoch, Value: strconv.AppendInt(nil, e.epoch, 10)},
		{Key: headerSequence, Value: strconv.AppendInt(nil, e.sequence, 10)},
		{Key: headerWatermark, Value: strconv.AppendInt(nil, e.watermark, 10)},
	}
	if e.final {
		headers = append(headers, kafka.Header{Key: headerFinal})
	}
	return headers
}

func parseEnvelope(headers []kafka.Header) (envelope, error) {
	var e envelope
	numbers := map[string]*int64{headerEpoch: &e.epoch, headerSequence: &e.sequence, headerWatermark: &e.watermark}
	for _, h := range headers {
		switch h.Key {
		case headerSensor:
			e.sensor = string(h.Value)
			continue
		case headerFinal:
			e.final = true
			continue
		}
		n, ok := numbers[h.Key]
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(string(h.Value), 10, 64)
		if err != nil {
			return envelope{}, fmt.Errorf("%w: %s: %w", errHeader, h.Key, err)
		}
		*n = v
		delete(numbers, h.Key)
	}
	if e.sensor == "" || len(numbers) > 0 {
		return envelope{}, errHeader
	}
	return e, nil
}
