package f5bigip

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// change is one data group with all that it is to hold.
type change struct {
	path string
	rows []row
}

// records is what a PATCH of a data group says.
func records(rows []row) any { return map[string][]row{"records": rows} }

const transactions = "/mgmt/tm/transaction"

// transact brings all changes about, or none. After an error it may be either.
func (c *client) transact(ctx context.Context, changes []change) error {
	answer, err := c.do(ctx, http.MethodPost, transactions, "", struct{}{})
	if err != nil {
		return err
	}
	begun, err := parseTransaction(answer)
	if err != nil {
		return err
	}
	id := strconv.FormatUint(begun.ID, 10)
	for _, g := range changes {
		if _, err = c.do(ctx, http.MethodPatch, g.path, id, records(g.rows)); err != nil {
			break
		}
	}
	if err == nil {
		err = c.commit(ctx, id)
	}
	if err != nil {
		// It would end by itself after its time; whether this is heard changes nothing.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(c.timeout, time.Second))
		defer cancel()
		_, _ = c.do(ctx, http.MethodDelete, transactions+"/"+id, "", nil)
	}
	return err
}

// commit ends a transaction; it returns nil when its changes are in force.
func (c *client) commit(ctx context.Context, id string) error {
	answer, err := c.do(ctx, http.MethodPatch, transactions+"/"+id, "", map[string]string{"state": "VALIDATING"})
	for {
		if err != nil {
			return err
		}
		t, err := parseTransaction(answer)
		switch {
		case err != nil:
			return err
		case t.State == "COMPLETED":
			return nil
		case t.State != "STARTED" && t.State != "VALIDATING" && t.State != "COMMITTING":
			return fmt.Errorf("f5 bigip: transaction %s ended as %q: %s", id, t.State, t.Reason)
		}
		const pause = 200 * time.Millisecond
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if answer, err = c.do(ctx, http.MethodGet, transactions+"/"+id, "", nil); err != nil {
			return err
		}
	}
}

// state is a transaction's.
type state struct {
	ID     uint64 `json:"transId"`
	State  string `json:"state"`
	Reason string `json:"failureReason"`
}

func parseTransaction(answer []byte) (state, error) {
	var t state
	if err := json.Unmarshal(answer, &t); err != nil || t.ID == 0 || t.State == "" {
		return t, fmt.Errorf("f5 bigip: the answer is no transaction")
	}
	const longest = 300
	t.State, t.Reason = t.State[:min(longest, len(t.State))], t.Reason[:min(longest, len(t.Reason))]
	return t, nil
}
