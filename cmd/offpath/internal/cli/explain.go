package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/explain"
	"offpath/cmd/offpath/internal/replay"
	"offpath/mitigate"
)

const explainDetail = `
Asks the running offpath, which keeps findings and verdicts in state.dir, the
latest 128 MiB of them. With --findings and --verdicts it asks files instead, as
"offpath replay" writes them (.gz and .zst too). With --transactions the requests
that findings name as examples are shown, not only their ids.
`

func runExplain(ctx context.Context, std Streams, c *command, args []string) error {
	f := newFlags(c, std)
	findings := f.String("findings", "", "look into the findings in `FILE`")
	verdicts := f.String("verdicts", "", "look into the verdicts in `FILE`")
	transactions := f.String("transactions", "", "look examples up in the transactions in `FILE`")
	asJSON := f.Bool("json", false, "print what there is as JSON")
	path := f.configFlag()
	id, err := f.parseOne(args, "ID", "4f2a90c1d2e3b4a5")
	if err != nil {
		return err
	}
	parsed, err := mitigate.ParseID(id)
	if err != nil {
		return wrongUsage("%v; the id stands in event.id of the finding or verdict", err)
	}
	id = parsed.String()

	var files []string
	for _, file := range []string{*findings, *verdicts} {
		if file != "" {
			files = append(files, file)
		}
	}
	var e *api.Explanation
	var now int64
	if len(files) > 0 {
		e, err = explain.FromFiles(id, files...)
	} else {
		var client *api.Client
		if client, err = operate(c, *path); err != nil {
			return err
		}
		e, err = client.Explain(ctx, id)
		now = time.Now().UnixNano()
	}
	damaged, err := complain(std, c, err)
	switch {
	case errors.Is(err, api.ErrUnknownID):
		return fmt.Errorf("no finding or verdict has the id %s in %s", id, strings.Join(files, " and "))
	case err != nil:
		return err
	}
	if *transactions != "" {
		more, err := complain(std, c, explain.AddTransactions(e, *transactions))
		if err != nil {
			return err
		}
		damaged = damaged || more
	}
	if *asJSON {
		var text []byte
		if text, err = json.Marshal(e); err == nil {
			_, err = std.Out.Write(append(text, '\n'))
		}
	} else {
		err = explain.Write(std.Out, e, now)
	}
	if err == nil && damaged {
		err = replay.ErrDamaged
	}
	return err
}

// complain warns of damage in files, and returns what else is wrong: a file that
// can't be read is a mistake on the command line.
func complain(std Streams, c *command, err error) (damaged bool, rest error) {
	damage, rest := explain.Damage(err)
	for _, d := range damage {
		fmt.Fprintf(std.Err, "offpath %s: warning: %s\n", c.name, oneLine(d))
	}
	var file *fs.PathError
	if errors.As(rest, &file) {
		rest = wrongUsage("%s: %v", file.Path, file.Err)
	}
	return len(damage) > 0, rest
}
