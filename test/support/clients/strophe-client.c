/* libstrophe, driven by lines: ID, command and arguments, separated by tabs; \n, \t and \\ are escaped in them.
 * Answers and events are lines of JSON: {"id": 1} or {"event": ...}. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FIELDS 10

static xmpp_ctx_t *ctx;
static xmpp_conn_t *conn;
static int transport = -1;    /* the connection's socket, to cut it */
static char *waiting;         /* id of the command that waits for a login */
static char *sending;         /* ids of sent stanzas that the socket has not taken yet, each with a newline */
static int stopping, connected;
/* What libstrophe says in its log only. */
static int resumed, offered_sm, enabled_sm;
static char *host, *jid, *password, *mode, *ca;
static unsigned short port;

static void print_json(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') printf("\\%c", c);
        else if (c < 0x20) printf("\\u%04x", c);
        else putchar(c);
    }
    putchar('"');
}

static void print_field(const char *name, const char *value)
{
    printf(", \"%s\": ", name);
    if (value) print_json(value);
    else printf("null");
}

static void end_line(void)
{
    puts("}");
    fflush(stdout);
}

static void answer(const char *id, const char *error)
{
    printf("{\"id\": %s", id);
    if (error) print_field("error", error);
    end_line();
}

static void login_done(const char *error)
{
    if (!waiting) return;
    printf("{\"id\": %s", waiting);
    if (error) print_field("error", error);
    else {
        print_field("jid", xmpp_conn_get_bound_jid(conn) ? xmpp_conn_get_bound_jid(conn) : jid);
        print_field("how", resumed ? "resumed" : "new");
    }
    end_line();
    free(waiting);
    waiting = NULL;
}

static void note_sending(const char *id)
{
    size_t length = sending ? strlen(sending) : 0;
    sending = realloc(sending, length + strlen(id) + 2);
    sprintf(sending + length, "%s\n", id);
}

/* COMPAT: libstrophe 0.12 forgets what xmpp_send took and the socket did not when the connection ends, XEP-0198 or not.
 * So a stanza counts as sent only when it was written. */
static void answer_sent(void)
{
    if (!sending || (xmpp_conn_is_connected(conn) && xmpp_conn_send_queue_len(conn) > 0)) return;
    for (char *id = strtok(sending, "\n"); id; id = strtok(NULL, "\n")) answer(id, NULL);
    free(sending);
    sending = NULL;
}

static int on_message(xmpp_conn_t *c, xmpp_stanza_t *stanza, void *data)
{
    xmpp_stanza_t *body = xmpp_stanza_get_child_by_name(stanza, "body");
    (void)c;
    (void)data;
    if (body) {
        char *text = xmpp_stanza_get_text(body);
        printf("{\"event\": \"message\"");
        print_field("from", xmpp_stanza_get_from(stanza));
        print_field("id", xmpp_stanza_get_id(stanza));
        print_field("type", xmpp_stanza_get_type(stanza));
        print_field("body", text ? text : "");
        end_line();
        if (text) xmpp_free(ctx, text);
    }
    return 1;
}

/* What is neither a message nor an answer to us: the test may look at it. */
static int on_stanza(xmpp_conn_t *c, xmpp_stanza_t *stanza, void *data)
{
    char *text;
    size_t length;
    (void)c;
    (void)data;
    if (xmpp_stanza_to_text(stanza, &text, &length) == XMPP_EOK) {
        printf("{\"event\": \"stanza\"");
        print_field("name", xmpp_stanza_get_name(stanza));
        print_field("id_attr", xmpp_stanza_get_id(stanza));
        print_field("xml", text);
        end_line();
        xmpp_free(ctx, text);
    }
    return 1;
}

static int on_socket(xmpp_conn_t *c, void *sock)
{
    (void)c;
    transport = *(int *)sock;
    return 0;
}

static void on_log(void *data, xmpp_log_level_t level, const char *area, const char *text)
{
    (void)data;
    (void)level;
    (void)area;
    if (strstr(text, "Session resumed successfully")) resumed = 1;
    if (!strncmp(text, "RECV: <features", 15)) offered_sm = strstr(text, "urn:xmpp:sm:3") != NULL;
    if (!strncmp(text, "RECV: <enabled", 14) || !strncmp(text, "RECV: <failed", 13)) enabled_sm = 1;
    if (getenv("STROPHE_DEBUG")) fprintf(stderr, "%s: %s\n", area, text);
}

static void on_connection(xmpp_conn_t *c, xmpp_conn_event_t event, int error, xmpp_stream_error_t *stream, void *data)
{
    char why[512];
    (void)data;
    if (event == XMPP_CONN_CONNECT) {
        xmpp_handler_add(c, on_message, NULL, "message", NULL, NULL);
        xmpp_handler_add(c, on_stanza, NULL, "iq", NULL, NULL);
        xmpp_handler_add(c, on_stanza, NULL, "presence", NULL, NULL);
        connected = 1;
        return;
    }
    transport = -1;
    connected = 0;
    snprintf(why, sizeof why, "disconnected: error %d, stream error %d %s", error, stream ? (int)stream->type : -1,
             stream && stream->text ? stream->text : "");
    printf("{\"event\": \"disconnected\"");
    print_field("reason", why);
    end_line();
    login_done(why);
}

/* Connects, with the XEP-0198 state of the connection before, if there is one. */
static void login(void)
{
    xmpp_sm_state_t *state = conn ? xmpp_conn_get_sm_state(conn) : NULL;
    long flags = 0;
    if (conn) xmpp_conn_release(conn);
    conn = xmpp_conn_new(ctx);
    if (!strcmp(mode, "direct")) flags = XMPP_CONN_FLAG_LEGACY_SSL;
    else if (!strcmp(mode, "starttls")) flags = XMPP_CONN_FLAG_MANDATORY_TLS;
    xmpp_conn_set_flags(conn, flags);
    xmpp_conn_set_cafile(conn, ca);
    xmpp_conn_set_jid(conn, jid);
    xmpp_conn_set_pass(conn, password);
    xmpp_conn_set_sockopt_callback(conn, on_socket);
    if (state) xmpp_conn_set_sm_state(conn, state);
    resumed = offered_sm = enabled_sm = 0;
    if (xmpp_connect_client(conn, host, port, on_connection, NULL) != XMPP_EOK) login_done("cannot connect");
}

static void run(char **f, int count)
{
    const char *id = f[0], *command = f[1];
    if (!strcmp(command, "connect") && count == 8) {
        host = strdup(f[2]), port = (unsigned short)atoi(f[3]), jid = strdup(f[4]), password = strdup(f[5]);
        mode = strdup(f[6]), ca = strdup(f[7]), waiting = strdup(id);
        login();
    } else if (!strcmp(command, "reconnect") && count == 4) {
        host = strdup(f[2]), port = (unsigned short)atoi(f[3]), waiting = strdup(id);
        login();
    } else if (!strcmp(command, "send") && count == 3) {
        xmpp_stanza_t *stanza = xmpp_stanza_new_from_string(ctx, f[2]);
        if (stanza) {
            xmpp_send(conn, stanza);
            xmpp_stanza_release(stanza);
        }
        if (stanza) note_sending(id);
        else answer(id, "not a stanza");
    } else if (!strcmp(command, "cut")) {
        if (transport >= 0) shutdown(transport, SHUT_RDWR);
        answer(id, NULL);
    } else if (!strcmp(command, "stop")) {
        stopping = 1;
        if (conn && xmpp_conn_is_connected(conn)) xmpp_disconnect(conn);
        answer(id, NULL);
    } else {
        answer(id, "no such command");
    }
}

/* Splits a line at its tabs and undoes the escapes, in place. */
static void obey(char *line)
{
    char *fields[MAX_FIELDS], *to = line;
    int count = 1;
    fields[0] = line;
    for (char *from = line; *from; from++) {
        if (*from == '\t' && count < MAX_FIELDS) {
            *to++ = 0;
            fields[count++] = to;
        } else if (*from == '\\' && from[1]) {
            from++;
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
    if (count >= 2) run(fields, count);
}

/* Reads what is there and obeys whole lines. False at the end of the input. */
static int read_commands(void)
{
    static char *buffer;
    static size_t size, used;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) > 0) {
        char *newline;
        ssize_t got;
        if (size - used < 65536) buffer = realloc(buffer, size += 1 << 17);
        got = read(STDIN_FILENO, buffer + used, size - used - 1);
        if (got <= 0) return 0;
        used += (size_t)got;
        while ((newline = memchr(buffer, '\n', used))) {
            size_t length = (size_t)(newline - buffer) + 1;
            *newline = 0;
            obey(buffer);
            memmove(buffer, buffer + length, used -= length);
        }
    }
    return 1;
}

int main(void)
{
    xmpp_log_t log = {on_log, NULL};
    int patience = 200; /* rounds of 10 ms for a polite end */
    signal(SIGPIPE, SIG_IGN); /* libstrophe writes to sockets that are gone */
    xmpp_initialize();
    ctx = xmpp_ctx_new(NULL, &log);
    while (!stopping && read_commands()) {
        xmpp_run_once(ctx, 10);
        answer_sent();
        /* COMPAT: libstrophe 0.12 reports the connection before XEP-0198 is on and does not count what is sent until
         * then; the server does, and so too little would be sent again after a resume. */
        if (connected && (resumed || !offered_sm || enabled_sm)) login_done(NULL);
    }
    if (!stopping && conn && xmpp_conn_is_connected(conn)) xmpp_disconnect(conn);
    while (conn && !xmpp_conn_is_disconnected(conn) && patience-- > 0) xmpp_run_once(ctx, 10);
    return 0;
}
