package service

import (
	"context"

	"offpath/cmd/offpath/internal/config"
)

// Run is `offpath run`: everything in one process. It returns when ctx is done
// and all is in order, or with the error that ended it.
func Run(ctx context.Context, o Options) error {
	if err := o.Config.RequireInterfaces("run"); err != nil {
		return err
	}
	p := newProcess(o)
	capturing, err := openCapture(p)
	if err != nil {
		return err
	}
	mitigating, err := newMitigation(p)
	if err != nil {
		capturing.close()
		return err
	}
	detecting, err := newDetection(p, capturing.key, mitigating.decided, nil)
	if err != nil {
		capturing.close()
		return err
	}
	mitigating.feedBack(detecting.stage)
	if err := capturing.connect(p, detecting.stage.Offer); err != nil {
		capturing.close()
		return err
	}
	p.parts = []part{capturing, detecting, mitigating}
	capturing.describe()
	return p.serve(ctx)
}

// Sensor is `offpath sensor`: capture and reassembly, then Kafka.
func Sensor(ctx context.Context, o Options) error {
	if err := o.Config.RequireInterfaces("sensor"); err != nil {
		return err
	}
	if err := o.Config.RequireBrokers("sensor"); err != nil {
		return err
	}
	p := newProcess(o)
	producing, err := newProducer(ctx, p) // first: it may take long, and bound rings fill
	if err != nil {
		return err
	}
	capturing, err := openCapture(p)
	if err != nil {
		return err
	}
	if err := capturing.connect(p, producing.producer.Send); err != nil {
		capturing.close()
		return err
	}
	p.parts = []part{capturing, producing}
	capturing.describe()
	return p.serve(ctx)
}

// Detect is `offpath detect`: transactions from Kafka, detection, mitigation,
// verdicts to Kafka.
func Detect(ctx context.Context, o Options) error {
	if err := o.Config.RequireBrokers("detect"); err != nil {
		return err
	}
	p := newProcess(o)
	consuming, err := newConsumer(ctx, p)
	if err != nil {
		return err
	}
	publishing, err := newPublisher(ctx, p)
	if err != nil {
		return err
	}
	mitigating, err := newMitigation(p)
	if err != nil {
		return err
	}
	key, err := configuredKey(o.Config)
	if err != nil {
		return err
	}
	detecting, err := newDetection(p, key, mitigating.decided, publishing.written)
	if err != nil {
		return err
	}
	mitigating.feedBack(detecting.stage)
	consuming.feed(detecting)
	p.parts = []part{consuming, detecting, mitigating, publishing}
	return p.serve(ctx)
}

// configuredKey is the site key where one is configured: without sensors beside it
// detection has none of its own.
func configuredKey(c *config.Config) ([]byte, error) {
	if c.Hash.Key.IsZero() {
		return nil, nil
	}
	key, err := c.SiteKey()
	if err != nil {
		return nil, &SetupError{err}
	}
	return key, nil
}
