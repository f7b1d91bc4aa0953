/* Helpers over the generated bindings (gen/delivery_agent.h), for C and C++.
 *
 * Ownership is that of the bindings: what a function of the agent gets is its own, and is freed with the generated
 * `..._free`; what it gives away is allocated with malloc. Everything that these helpers put into an outcome is a copy. */
#ifndef POSTERN_H
#define POSTERN_H

#include "delivery_agent.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef delivery_agent_string_t postern_string;
typedef postern_delivery_agent_types_outcome_t postern_outcome;
typedef postern_delivery_agent_types_refusal_t postern_refusal;
typedef postern_delivery_agent_types_next_hop_t postern_next_hop;
typedef postern_delivery_agent_mail_envelope_t postern_envelope;
typedef postern_delivery_agent_mail_recipient_t postern_recipient;
typedef postern_delivery_agent_mail_list_recipient_t postern_recipients;
typedef postern_delivery_agent_mail_borrow_item_t postern_item;
typedef exports_postern_delivery_agent_agent_description_t postern_description;
typedef exports_postern_delivery_agent_agent_report_t postern_report;
typedef postern_delivery_agent_http_request_t postern_request;
typedef postern_delivery_agent_http_response_t postern_answer;
typedef postern_delivery_agent_http_fault_t postern_http_fault;

/* Writes a line to the host's log: printf's words, at most 511 bytes. */
void postern_log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void postern_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The value of a text in the connector's `settings` table; false when it is not there, is no text or longer than
 * `size` - 1 bytes. Escapes but \uXXXX are decoded. */
bool postern_setting(const char *name, char *value, size_t size);

/* Outcomes. The codes fit; a class is a word of the contract ("busy", "throttled", ...), or "". */
postern_outcome postern_delivered(const char *text);
postern_outcome postern_relayed(const char *text);
postern_outcome postern_deferred(const char *text, const char *failure_class, uint32_t retry_after_seconds);
postern_outcome postern_failed(const char *text, const char *failure_class);

/* "The whole queue has to wait", for open_connection. */
postern_refusal postern_not_now(const char *text, const char *failure_class);

/* Makes a report with room for one outcome for each of `count` recipients. */
void postern_report_for(postern_report *report, size_t count);
/* Puts the outcome of one recipient into its place in the report. */
void postern_report_set(postern_report *report, size_t place, uint32_t recipient, postern_outcome outcome);

/* HTTP. A request without headers and body; each header is copied into it. */
postern_request postern_http_request(const char *method, const char *url);
void postern_http_header(postern_request *request, const char *name, postern_string value);
/* Sends it, and frees it; false with a fault when no answer came. */
bool postern_http_send(postern_request *request, postern_answer *answer, postern_http_fault *fault);

/* A text of C as one of the contract, without a copy: valid as long as the text is. */
postern_string postern_text(const char *text);

#ifdef __cplusplus
}
#endif
#endif
