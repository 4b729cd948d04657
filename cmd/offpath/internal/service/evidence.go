package service

import (
	"encoding/json"
	"path/filepath"

	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/evidence"
)

// evidenceFolder is where in the state folder findings and verdicts are kept.
const evidenceFolder = "evidence"

// openEvidence goes on with the findings and verdicts of earlier runs.
func (d *detectionPart) openEvidence(c *config.Config) error {
	var err error
	if d.node.evidence, err = evidence.Open(filepath.Join(c.State.Dir, evidenceFolder)); err != nil {
		return err
	}
	return d.node.evidence.Each(func(line []byte) {
		var finding struct {
			Event struct{ ID, Kind string }
		}
		if json.Unmarshal(line, &finding) == nil && finding.Event.Kind != "" { // else it is a verdict's, or was cut by a crash
			d.node.history.Add(finding.Event.ID, line)
		}
	})
}

// keep brings findings and verdicts to the disk. That it fails is said once.
func (d *detectionPart) keep() {
	err := d.node.evidence.Flush()
	switch before := d.unkept.Load(); {
	case err == nil:
		d.unkept.Store(nil)
	case before == nil:
		d.log.Error().Err(err).Msg("findings and verdicts can't be kept; offpath explain will not know them")
		fallthrough
	default:
		d.unkept.Store(&err)
	}
}
