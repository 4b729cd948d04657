package output

import (
	"errors"
	"io"
)

// Files are the outputs of one process; those that are nil are not wanted.
type Files struct {
	Transactions       *Transactions
	Findings, Verdicts *Lines
}

// CreateAll opens the outputs at the given paths for writing from their start;
// "-" is stdout, "" means none. beside is for [NewTransactions].
func CreateAll(stdout io.Writer, beside bool, transactions, findings, verdicts string) (Files, error) {
	return openAll(func(path string) (*Lines, error) { return Create(path, stdout) }, beside, transactions, findings, verdicts)
}

// AppendAll opens the outputs at the given paths for adding to their end; ""
// means none. Transactions are encoded beside whatever else is done.
func AppendAll(transactions, findings, verdicts string) (Files, error) {
	return openAll(Append, true, transactions, findings, verdicts)
}

func openAll(open func(path string) (*Lines, error), beside bool, paths ...string) (Files, error) {
	var lines [3]*Lines
	for i, path := range paths {
		if path == "" {
			continue
		}
		var err error
		if lines[i], err = open(path); err != nil {
			for _, l := range lines {
				err = errors.Join(err, l.Close())
			}
			return Files{}, err
		}
	}
	files := Files{Findings: lines[1], Verdicts: lines[2]}
	if lines[0] != nil {
		files.Transactions = NewTransactions(lines[0], beside)
	}
	return files, nil
}

// None reports whether no output is wanted.
func (f Files) None() bool { return f == Files{} }

// Flush writes the findings and verdicts that were gathered. (Transactions
// flush themselves.)
func (f Files) Flush() {
	f.Findings.Flush()
	f.Verdicts.Flush()
}

// Err is the first error so far.
func (f Files) Err() error {
	return errors.Join(f.Transactions.Err(), f.Findings.Err(), f.Verdicts.Err())
}

// Reopen opens every file anew, after a log rotation moved it away, and calls
// report with the outcome of each.
func (f Files) Reopen(report func(error)) {
	f.Transactions.Reopen(report)
	report(f.Findings.Reopen())
	report(f.Verdicts.Reopen())
}

// Close writes what is left and returns the errors.
func (f Files) Close() error {
	return errors.Join(f.Transactions.Close(), f.Findings.Close(), f.Verdicts.Close())
}
