// SPDX-License-Identifier: BSD-2-Clause
/*
 * top.c - the picture on a terminal, again and again. A terminal that ncurses cannot use, or none,
 * gets it once, as text.
 */
#include <curses.h>
#include <errno.h>
#include <string.h>

#include "picture.h"
#include "terminal.h"

#define ROWS_MAX 1000u /* of each list: nobody scrolls further */
#define INTERVAL_S 1.0
#define INTERVAL_S_MIN 0.1
#define REDRAWS 2u /* after a change of size: terminals move lines about, at once or later */
#define INTERVAL_S_MAX 60.0

struct screen {
	struct view view;
	struct snapshot now, before;
	bool have_before;
	size_t top;       /* the first line that scrolls */
	unsigned redraws; /* pictures to come that are drawn without regard to the last one */
	bool colours;
};

static int body_rows(const struct picture *p)
{
	int rows = LINES - (int)p->fixed - 1; /* the last one is the help */

	return rows > 0 ? rows : 0;
}

static attr_t attribute_of(const struct screen *s, enum look look)
{
	switch (look) {
	case LOOK_TITLE:
		return A_BOLD;
	case LOOK_HEAD:
		return A_REVERSE;
	case LOOK_ALARM:
		return s->colours ? COLOR_PAIR(1) | A_BOLD : A_BOLD;
	case LOOK_DIM:
		return A_DIM;
	default:
		return A_NORMAL;
	}
}

static void draw_line(const struct screen *s, const struct picture *p, size_t line, int row)
{
	attr_t attribute = attribute_of(s, p->lines[line].look);

	attrset(attribute);
	mvaddnstr(row, 0, p->lines[line].text, COLS);
	if (p->lines[line].look == LOOK_HEAD)
		mvchgat(row, 0, -1, A_REVERSE, 0, NULL);
	attrset(A_NORMAL);
}

static void draw(struct screen *s, const struct picture *p)
{
	size_t rows = (size_t)body_rows(p), body = p->count - p->fixed;

	if (s->top + rows > body)
		s->top = body > rows ? body - rows : 0;
	if (s->redraws) {
		s->redraws--;
		clearok(curscr, TRUE);
	}
	erase();
	for (size_t i = 0; i < p->fixed && (int)i < LINES; i++)
		draw_line(s, p, i, (int)i);
	for (size_t i = 0; i < rows && s->top + i < body; i++)
		draw_line(s, p, p->fixed + s->top + i, (int)(p->fixed + i));
	attrset(A_DIM);
	mvprintw(LINES - 1, 0, "%.*s", COLS - 1,
		"q quit  s l o a: sessions leases operations all  < > r: sort  space: stop  + -");
	if (body > rows)
		mvprintw(LINES - 1, COLS > 14 ? COLS - 14 : 0, " %5zu of %-5zu", s->top + 1, body);
	attrset(A_NORMAL);
	refresh();
}

static void scroll_by(struct screen *s, const struct picture *p, long lines)
{
	long top = (long)s->top + lines, last = (long)(p->count - p->fixed) - body_rows(p);

	top = top > last ? last : top;
	s->top = top < 0 ? 0 : (size_t)top;
}

static void sort_by(struct view *view, int step)
{
	view->sort = (enum sort_key)(((int)view->sort + step + SORT_KEYS) % SORT_KEYS);
}

static void change_interval(struct view *view, double factor)
{
	view->interval_s *= factor;
	if (view->interval_s < INTERVAL_S_MIN)
		view->interval_s = INTERVAL_S_MIN;
	if (view->interval_s > INTERVAL_S_MAX)
		view->interval_s = INTERVAL_S_MAX;
}

static void show(struct screen *s, unsigned what)
{
	s->view.show = what;
	s->top = 0;
}

/* False: it was asked to end. */
static bool take_key(struct screen *s, const struct picture *p, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case 's':
		show(s, SHOW_SESSIONS);
		break;
	case 'l':
		show(s, SHOW_LEASES);
		break;
	case 'o':
		show(s, SHOW_OPERATIONS);
		break;
	case 'a':
		show(s, SHOW_ALL);
		break;
	case '<':
		sort_by(&s->view, -1);
		break;
	case '>':
		sort_by(&s->view, 1);
		break;
	case 'r':
		s->view.backwards = !s->view.backwards;
		break;
	case ' ':
		s->view.paused = !s->view.paused;
		break;
	case '+':
		change_interval(&s->view, 0.5);
		break;
	case '-':
		change_interval(&s->view, 2);
		break;
	case KEY_UP:
	case 'k':
		scroll_by(s, p, -1);
		break;
	case KEY_DOWN:
	case 'j':
		scroll_by(s, p, 1);
		break;
	case KEY_PPAGE:
		scroll_by(s, p, -body_rows(p));
		break;
	case KEY_NPAGE:
		scroll_by(s, p, body_rows(p));
		break;
	case KEY_HOME:
		s->top = 0;
		break;
	case KEY_END:
		scroll_by(s, p, (long)p->count);
		break;
	case KEY_RESIZE:
	case 'L' & 0x1f:
		s->redraws = REDRAWS;
		break;
	default:
		break;
	}
	return true;
}

/* 0 or -errno. */
static int look_again(struct screen *s, int control)
{
	struct snapshot now;
	int error = snapshot_take(control, 0, ROWS_MAX, &now);

	if (error)
		return error;
	if (s->have_before)
		snapshot_free(&s->before);
	s->before = s->now;
	s->have_before = s->now.taken_ns != 0;
	s->now = now;
	return 0;
}

/* Until a key that ends it, or an error. */
static int go_on(struct screen *s, int control)
{
	bool again = true;
	int error, key;

	for (;;) {
		struct picture p;

		if (again && !s->view.paused) {
			error = look_again(s, control);
			if (error)
				return error;
		}
		picture_make(&p, &s->now, s->have_before ? &s->before : NULL, &s->view);
		draw(s, &p);
		timeout((int)(s->view.interval_s * 1000));
		key = getch();
		again = key == ERR; /* the interval is over */
		if (!take_key(s, &p, key)) {
			picture_free(&p);
			return 0;
		}
		picture_free(&p);
	}
}

static int show_live(struct screen *s, int control)
{
	int error;

	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	s->colours = has_colors() && start_color() == OK && use_default_colors() == OK &&
		     init_pair(1, COLOR_YELLOW, -1) == OK;
	error = go_on(s, control);
	endwin();
	return error;
}

static int show_once(struct screen *s, int control)
{
	struct picture p;
	int error = look_again(s, control);

	if (error)
		return error;
	if (as_json) {
		print_json(snapshot_json(&s->now, s->view.mount));
		return 0;
	}
	picture_make(&p, &s->now, NULL, &s->view);
	for (size_t i = 0; i < p.count; i++)
		puts(p.lines[i].text);
	error = p.failed ? -ENOMEM : 0;
	picture_free(&p);
	return error;
}

static bool find_sort(const char *name, enum sort_key *out)
{
	for (int i = 0; i < SORT_KEYS; i++) {
		if (!strcmp(sort_names[i], name)) {
			*out = (enum sort_key)i;
			return true;
		}
	}
	return false;
}

int do_top(const struct request *r)
{
	struct screen s = {.view = {.mount = r->where,
				   .show = SHOW_ALL,
				   .interval_s = r->interval_s > 0 ? r->interval_s : INTERVAL_S}};
	SCREEN *terminal = NULL;
	int error;

	if (r->sort && !find_sort(r->sort, &s.view.sort)) {
		fprintf(stderr, "leasectl: --sort takes left, age, session, pid, inode or held\n");
		return LEASECTL_USAGE;
	}
	if (!r->once && !as_json && terminal_is_usable())
		terminal = newterm(NULL, stdout, stdin);
	error = terminal ? show_live(&s, r->control) : show_once(&s, r->control);
	if (terminal)
		delscreen(terminal);
	snapshot_free(&s.now);
	if (s.have_before)
		snapshot_free(&s.before);
	if (error) {
		errno = -error;
		return failed("top");
	}
	return LEASECTL_DONE;
}
