// Package replay runs recorded input through the same pipeline that a live
// offpath has: captures through reassembly and detection, files of
// transactions through detection alone.
//
// Input is read and decoded by one goroutine; each worker reassembles in one
// of its own, and detects in turn with the others; the encoding of transactions
// has one. Between them stand bounded queues that wait: nothing is shed, so the
// output depends on input and configuration alone. With one worker one goroutine
// does all of it, without queues.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/output"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/detect"
	"offpath/detect/filter"
	"offpath/reassembly"
)

// ErrDamaged says that all is done, but some input was damaged; what and where
// was logged.
var ErrDamaged = errors.New("some input was damaged")

// errInterrupted says that a signal ended the replay.
var errInterrupted = errors.New("interrupted; the output ends early")

// InputError says that an input is not there, or not what it should be.
type InputError struct{ err error }

func (e *InputError) Error() string {
	var path *fs.PathError
	if joined := flatten(e.err); len(joined) == 1 && errors.As(e.err, &path) {
		return path.Path + ": " + path.Err.Error()
	}
	return e.err.Error()
}

func (e *InputError) Unwrap() error { return e.err }

// Options say what to replay and what to write.
type Options struct {
	Inputs []string
	Stdin  io.Reader
	Stdout io.Writer

	Transactions, Findings, Verdicts, Accounts string // paths; "-" is Stdout, "" none. With none of them and no Sitemap, a report goes to Stdout.
	Sitemap                                    string // path of the endpoints seen, .yaml or .json; "" none
	Spec                                       string // path of a description of the API to compare them with, in Sitemap or the report; "" none

	Detail    wiring.Detail
	Cleartext bool
	Key       []byte // of the keyed hashes
	KeyLog    string // path of a key log to decrypt TLS with, "" none
	Window    Window
	Filter    *filter.Filter // what of it is looked at; nil: all
	Workers   int            // 1 or more
	Speed     float64        // event time per wall time; 0: as fast as possible
	Mitigate  bool           // send verdicts to the load balancers of Config

	Config   *config.Config
	Log      logging.Log
	Progress io.Writer // a terminal; nil for none
}

// input is where transactions come from.
type input interface {
	// run feeds all transactions, in order, and returns when the last one is
	// fed or ctx is done. Damage is reported as *capture.DamageError, several
	// errors are joined.
	run(ctx context.Context, feed wiring.Feed) error
	// stats is nil where the input has no packets.
	stats() *capture.Stats
	// secured tells how many connections were encrypted, and of these decrypted.
	secured() (all, decrypted uint64)
	losses() []loss
}

// Run replays. The error is ErrDamaged if all went well but for damage, an
// *InputError if an input is unusable.
func Run(ctx context.Context, o Options) error {
	if err := checkOutputs(&o); err != nil {
		return err
	}
	progress := newProgress(o.Progress)
	deciding, err := wiring.Engine(o.Config)
	if err != nil {
		return err
	}
	if deciding.Networks, err = wiring.Networks(o.Config); err != nil {
		return err
	}
	in, err := openInput(&o, progress)
	if err != nil {
		return err
	}
	files, err := output.CreateAll(o.Stdout, o.Workers > 1, o.Transactions, o.Findings, o.Verdicts)
	if err != nil {
		return err
	}
	seen, err := newSitemap(&o)
	if err != nil {
		return errors.Join(err, files.Close())
	}
	deciding.Map = seen.Map
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	settings := detection.Config{
		Engine:   deciding,
		Files:    files,
		Failed:   cancel,
		Observed: func(txs []*reassembly.Transaction) { progress.count(len(txs)) },
	}
	accounts, err := openAccounts(&o)
	if err != nil {
		return errors.Join(err, files.Close())
	}
	if accounts != nil {
		settings.Engine.Accounts = maxAccounts
	}
	var r *report
	if files.None() && accounts == nil && o.Sitemap == "" {
		r = newReport()
		settings.Observed = func(txs []*reassembly.Transaction) { r.observe(txs); progress.count(len(txs)) }
		settings.Finding = func(f *detect.Finding, _ []byte) { r.findings.add(f.ID, *f) }
		settings.Verdict = func(v *detect.Verdict, _ []byte) { r.verdicts.add(v.ID, *v) }
	}
	var sent *mitigation
	if o.Mitigate {
		if sent, err = startMitigation(ctx, &o); err != nil {
			return errors.Join(err, files.Close())
		}
		settings.Decided = sent.apply
	}
	stage, err := detection.NewInline(settings)
	if err != nil {
		return errors.Join(err, files.Close())
	}

	put := stage.Put
	if o.Filter != nil {
		put = picked(o.Filter, stage.Put)
	}
	err = in.run(ctx, put)
	stage.Put(nil, math.MaxInt64)
	if accounts != nil {
		writeAccounts(accounts, &o, stage)
	}
	written := errors.Join(stage.Close(), seen.write())
	if accounts != nil {
		written = errors.Join(written, accounts.Close())
	}
	progress.clear()
	if sent != nil {
		err = errors.Join(err, sent.finish())
	}
	damaged, err := o.sortErrors(err)
	switch {
	case written != nil:
		return written
	case err != nil:
		return err
	case ctx.Err() != nil:
		return errInterrupted
	}
	if r != nil {
		if err := r.write(o.Stdout, in, seen.comparison()); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if damaged {
		return ErrDamaged
	}
	return nil
}

// picked feeds the transactions that a filter picks. Time goes on with the others,
// too.
func picked(f *filter.Filter, feed wiring.Feed) wiring.Feed {
	var rest []*reassembly.Transaction
	return func(txs []*reassembly.Transaction, watermark int64) {
		kept := txs[:0]
		for _, tx := range txs {
			if f.Holds(tx) {
				kept = append(kept, tx)
			} else {
				rest = append(rest, tx)
			}
		}
		clear(txs[len(kept):])
		reassembly.Release(rest)
		rest = rest[:0]
		feed(kept, watermark)
	}
}

// sortErrors logs damage and returns the other errors.
func (o *Options) sortErrors(err error) (damaged bool, rest error) {
	for _, each := range flatten(err) {
		var damage *capture.DamageError
		switch {
		case errors.As(each, &damage):
			damaged = true
			o.Log.Warn().Str("file", damage.File).Int64("offset", damage.Offset).Msg(damage.Error())
		case errors.Is(each, pcapfile.ErrEmpty), errors.Is(each, pcapfile.ErrNotCapture):
			rest = errors.Join(rest, &InputError{each})
		default:
			rest = errors.Join(rest, each)
		}
	}
	return damaged, rest
}

// flatten takes apart what errors.Join joined; other errors that wrap several
// say more than these, and stay whole.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, each := range joined.Unwrap() {
		all = append(all, flatten(each)...)
	}
	return all
}

// openInput opens captures or files of transactions, as their names say.
func openInput(o *Options, p *progress) (input, error) {
	var lines []string
	for _, path := range o.Inputs {
		if isTransactions(path) {
			lines = append(lines, path)
		}
	}
	switch len(lines) {
	case 0:
		return openPackets(o, p)
	case len(o.Inputs):
		return openLines(o, p)
	}
	return nil, &InputError{fmt.Errorf("%s holds transactions and other inputs hold packets; replay them apart", lines[0])}
}

func isTransactions(path string) bool {
	path = strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst")
	return strings.HasSuffix(path, ".jsonl")
}
