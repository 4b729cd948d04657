package haproxy

import (
	"context"
	"strings"
	"sync"
)

// bulkConnections is how many batches are under way at once: HAProxy runs a
// session on one thread, and the next batch is on its way meanwhile. The
// Runtime API takes ten connections by default.
const bulkConnections = 2

// refusal is HAProxy's answer to the i-th command of a bulk.
type refusal struct {
	index  int
	answer string
}

// bulk runs n orders, made by order(i), in batches of at most size octets and
// in any order among batches. It returns the orders that were refused, by
// index; with an error some were not carried out.
func (c *client) bulk(ctx context.Context, size, n int, order func(i int) (string, error)) ([]refusal, error) {
	type batch struct {
		first    int
		commands []string
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		refusals []refusal
		failed   error
	)
	batches := make(chan batch)
	for range bulkConnections {
		wg.Go(func() {
			for b := range batches {
				answers, err := c.run(ctx, b.commands, "")
				mu.Lock()
				for i, a := range answers {
					if a.refused() {
						refusals = append(refusals, refusal{b.first + i, firstLine(a.text)})
					}
				}
				if err != nil && failed == nil {
					failed = err
					cancel(err)
				}
				mu.Unlock()
			}
		})
	}

	var makeErr error
	next := batch{}
	length := len(severityOutput)
	send := func() bool {
		select {
		case batches <- next:
			next = batch{first: next.first + len(next.commands)}
			length = len(severityOutput)
			return true
		case <-ctx.Done():
			return false
		}
	}
	for i := range n {
		cmd, err := order(i)
		if err != nil {
			makeErr = err
			break
		}
		if length+1+len(cmd) > size && len(next.commands) > 0 && !send() {
			break
		}
		next.commands = append(next.commands, cmd)
		length += 1 + len(cmd)
	}
	if makeErr == nil && len(next.commands) > 0 {
		send()
	}
	close(batches)
	wg.Wait()
	switch {
	case failed != nil:
		return refusals, failed
	case makeErr != nil:
		return refusals, makeErr
	}
	return refusals, ctx.Err()
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
