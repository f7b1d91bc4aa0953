// Package agent is my-agent: it posts the text of each message to a web address, once for each recipient.
package agent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"my-agent/sdk/postern"
)

const maxText = 64 << 10

// New is called once for each instance.
func New() postern.Agent { return &poster{} }

type poster struct{ url string }

func (*poster) Describe() postern.Description {
	return postern.Description{Name: "my-agent", Version: "0.1.0", Protocol: "HTTP"}
}

// Open reads where to post: the setting `url`, which the connector must grant.
func (p *poster) Open(postern.NextHop) (string, error) {
	var settings struct{ URL string }
	if err := postern.Settings(&settings); err != nil {
		return "", err
	}
	if settings.URL == "" {
		return "", postern.NotNow{Text: "the setting `url` is missing"}
	}
	p.url = settings.URL
	return p.url, nil
}

func (p *poster) Deliver(item postern.Item) (postern.Report, error) {
	text, err := item.Text(maxText)
	if err != nil {
		return nil, err
	}
	return postern.ReportAll(item.Recipients(), func(r postern.Recipient) postern.Outcome {
		if text == "" {
			return postern.Failed("there is no text in it", "content-rejected")
		}
		return p.post(r, text)
	}), nil
}

func (*poster) Close() error { return nil }

func (p *poster) post(recipient postern.Recipient, text string) postern.Outcome {
	answer, err := postern.Send(postern.Request{
		Method: "POST", URL: p.url, Body: []byte(text),
		Headers: [][2]string{
			{"Content-Type", "text/plain; charset=utf-8"},
			{"Idempotency-Key", recipient.IdempotencyKey},
			{"X-Recipient", recipient.Address},
		},
	})
	var late postern.ErrTimeout
	switch {
	case errors.As(err, &late):
		return postern.Deferred(err.Error(), "timeout")
	case err != nil:
		return postern.Deferred(err.Error(), "service-unavailable")
	}
	return outcome(answer)
}

// outcome is what an answer means for the recipient.
func outcome(answer postern.Answer) postern.Outcome {
	text := fmt.Sprintf("HTTP status %d", answer.Status)
	switch {
	case answer.Status >= 200 && answer.Status < 300:
		return postern.Delivered(text)
	case answer.Status == 429:
		deferred := postern.Deferred(text, "throttled")
		for _, header := range answer.Headers {
			if strings.EqualFold(header[0], "Retry-After") {
				seconds, _ := strconv.ParseUint(header[1], 10, 32)
				deferred.RetryAfter = uint32(seconds)
			}
		}
		return deferred
	case answer.Status >= 400 && answer.Status < 500:
		return postern.Failed(text, "content-rejected")
	default:
		return postern.Deferred(text, "service-unavailable")
	}
}
