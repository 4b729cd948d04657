package replay

import (
	"offpath/cmd/offpath/internal/detection"
	"offpath/cmd/offpath/internal/output"
	"offpath/detect/jsonl"
)

// maxAccounts is how many accounts are listed.
const maxAccounts = 1 << 24

// openAccounts creates the file of the accounts that campaigns touched; nil if
// none is asked for.
func openAccounts(o *Options) (*output.Lines, error) {
	if o.Accounts == "" {
		return nil, nil
	}
	return output.Create(o.Accounts, o.Stdout)
}

// writeAccounts writes a line for each account and campaign.
func writeAccounts(lines *output.Lines, o *Options, stage *detection.Inline) {
	list, lost := stage.Accounts()
	var b []byte
	for i := range list {
		b = append(jsonl.AppendAccount(b[:0], &list[i]), '\n')
		lines.Add(b)
	}
	if lost > 0 {
		o.Log.Warn().Uint64("attempts", lost).Int("accounts", maxAccounts).Msg("more accounts were touched than --accounts lists")
	}
}
