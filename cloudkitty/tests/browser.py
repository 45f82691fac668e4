# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium without a window, which notices what goes wrong; ``tools/horizon install`` installs it."""

import base64
import json
import pathlib
import re

from selenium import webdriver
from selenium.common import exceptions
from selenium.webdriver.chrome import service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import select
from selenium.webdriver.support import wait

#: Seconds for a page, a dialog or an answer.
PATIENCE = 60
_ARGUMENTS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--disable-dev-shm-usage', '--window-size=1280,900',
)  # fmt: skip
#: What sends a form.
SUBMIT = 'input[type=submit], button[type=submit]'
#: What a page of Horizon says of an error: messages, fields of a form, whole pages.
_TROUBLES = (
    '.alert-danger, .alert-warning, .alert-error, .has-error, .errorlist, .help-block.alert, .error, .status_down'
)
_TITLES = re.compile('error|wrong|not found|denied|unauthorized|forbidden|debug', re.IGNORECASE)


class Browser:
    """A browser with a profile of its own.

    :param profile: an empty directory.
    :param pictures: directory for pictures of pages; None keeps none.
    :ivar visited: paths, with their queries, that were asked of the server, in order; other URLs whole.
    """

    def __init__(self, profile, url, pictures=None):
        options = webdriver.ChromeOptions()
        options.binary_location = '/usr/bin/chromium'
        for argument in (*_ARGUMENTS, '--user-data-dir=%s' % profile):
            options.add_argument(argument)
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
        self.driver = webdriver.Chrome(options=options, service=service.Service('/usr/bin/chromedriver'))
        self.driver.set_script_timeout(PATIENCE)
        self.url = url
        self.visited = []
        self._pictures = pictures and pathlib.Path(pictures)
        self._failed = []
        self._asked = {}

    def close(self):
        self.driver.quit()

    # pages

    def open(self, path):
        self.driver.get(self.url + path)
        self._wait_for_page()

    def path(self):
        """Return the path of the page that is shown, with its query."""
        return self.driver.current_url.removeprefix(self.url)

    def find_troubles(self):
        """Return lines that say what went wrong since the last call, on the page that is shown and on the way to it."""
        self._read_network()
        found, self._failed = self._failed, []
        found += [entry['message'] for entry in self.driver.get_log('browser') if entry['level'] == 'SEVERE']
        if _TITLES.search(self.driver.title):
            found.append('title: %s' % self.driver.title)
        found += ['shown: %s' % element.text for element in self.find_all(_TROUBLES) if element.is_displayed()]
        return ['%s: %s' % (self.path(), line) for line in found]

    def _read_network(self):
        for entry in self.driver.get_log('performance'):
            message = json.loads(entry['message'])['message']
            method, params = message['method'].removeprefix('Network.'), message['params']
            if method == 'requestWillBeSent':
                # The browser has pages of its own, which want something too.
                if params['documentURL'].startswith(self.url):
                    self._asked[params['requestId']] = params['request']['url']
                    self.visited.append(params['request']['url'].removeprefix(self.url))
            elif params.get('requestId') not in self._asked:
                continue
            elif method == 'responseReceived' and params['response']['status'] >= 400:
                self._failed.append('%(status)s %(url)s' % params['response'])
            elif method == 'loadingFailed' and not params.get('canceled'):
                self._failed.append('%s: %s' % (params['errorText'], self._asked[params['requestId']]))

    def take_picture(self, name):
        """Keep a picture of the whole page."""
        if self._pictures is None:
            return
        size = self.run('return [document.documentElement.clientWidth, document.documentElement.scrollHeight]')
        clip = {'x': 0, 'y': 0, 'width': size[0], 'height': size[1], 'scale': 1}
        taken = self.driver.execute_cdp_cmd(
            'Page.captureScreenshot', {'format': 'png', 'captureBeyondViewport': True, 'clip': clip}
        )
        (self._pictures / ('%s.png' % name)).write_bytes(base64.b64decode(taken['data']))

    # what is on a page

    def find(self, selector, within=None):
        return (within or self.driver).find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector, within=None):
        return (within or self.driver).find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector, within=None):
        return [element.text.strip() for element in self.find_all(selector, within)]

    def read_table(self, selector):
        """Return the cells that are shown of the rows of a table's body, a list a row."""
        rows = []
        for row in self.find_all('%s tbody tr' % selector):
            rows.append([cell.text.strip() for cell in self.find_all('td', row) if cell.is_displayed()])
        return rows

    def read_details(self):
        """Return {term: text} of the lists of definitions."""
        pairs = zip(self.texts('.detail dt'), self.texts('.detail dd'), strict=True)
        return dict(pairs)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    # what a person does

    def wait_for(self, condition):
        """Wait until *condition()* is true; return what it gives."""
        return wait.WebDriverWait(self.driver, PATIENCE, 0.1).until(lambda _: condition())

    def click(self, element):
        self.run('arguments[0].scrollIntoView({block: "center", inline: "nearest"})', element)
        element.click()

    def leave_by(self, element):
        """Click what leads to another page, and wait for that."""
        self.run('window.isBefore = true')
        self.click(element)
        self.wait_for(self._is_elsewhere)
        self._wait_for_page()

    def _is_elsewhere(self):
        try:
            return not self.run('return window.isBefore === true')
        except exceptions.WebDriverException:
            # Between two pages Chromium knows neither of them, and says so in several ways.
            return False

    def open_dialog(self, element):
        """Click what opens a dialog; return its form, once it stands still."""
        self.click(element)
        form = self.wait_for(lambda: next(iter(self.find_all('.modal.in form')), None))
        self.wait_for(lambda: self.run('return jQuery(":animated").length === 0'))
        return form

    def fill(self, form, /, **values):
        """Enter *values*, {name of a field: text}, or the text of the choice."""
        for name, value in values.items():
            field = self.find('[name=%s]' % name, form)
            if field.tag_name == 'select':
                # Themes show a menu of their own in place of it.
                chosen = next(item for item in select.Select(field).options if item.get_attribute('text') == value)
                self.run(
                    'jQuery(arguments[0]).val(arguments[1]).trigger("change")', field, chosen.get_attribute('value')
                )
            else:
                field.clear()
                field.send_keys(value)

    def submit(self, form):
        """Send a form, and wait for the page that comes then."""
        self.leave_by(self.find(SUBMIT, form))

    def row(self, text):
        """Return the row of a table that holds *text*."""
        return next(row for row in self.find_all('tbody tr') if row.is_displayed() and text in row.text)

    def act(self, row, action):
        """Return the button or the link of *row* that says *action*, its menu open."""
        for element in self.find_all('td.actions_column a, td.actions_column button', row):
            if element.get_attribute('textContent').strip() == action:
                if not element.is_displayed():
                    self.click(self.find('.dropdown-toggle', row))
                return element
        raise AssertionError('%s: there is no %s for %s.' % (self.path(), action, row.text))

    def confirm(self, element):
        """Click what asks whether it is meant, say yes, and wait for the page that comes then."""
        self.click(element)
        self.leave_by(self.wait_for(lambda: next(iter(self.find_all('.modal.in .modal-footer .btn-danger')), None)))

    def _wait_for_page(self):
        self.wait_for(lambda: self.run('return document.readyState === "complete"'))
