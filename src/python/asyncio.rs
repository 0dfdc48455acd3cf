//! What the timer asks asyncio: which loop runs here, which task, and by the shortest way that is sure.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use super::Object;
use super::known::{known, unprotected};

/// What asyncio is asked, found once.
pub struct Asyncio {
    future: Py<PyAny>,
    task: Py<PyAny>,
    running_loop: Py<PyAny>,
    current_task: Py<PyAny>,
    /// `_asyncio._current_tasks`: loop → the task that it is running. Gone in 3.14.
    tasks: Option<Py<PyDict>>,
    context: Py<PyAny>,
    loop_of: Py<PyString>,
    thread_of: Py<PyString>,
    cancelling: Py<PyString>,
    /// The variables of the module `time`, and the `monotonic` that it came with.
    time: Py<PyDict>,
    monotonic: Option<Py<PyAny>>,
    monotonic_name: Py<PyString>,
}

impl Asyncio {
    /// Find it, the first time.
    pub fn get(py: Python<'_>) -> PyResult<&Self> {
        static ASYNCIO: PyOnceLock<Asyncio> = PyOnceLock::new();
        ASYNCIO.get_or_try_init(py, || {
            let asyncio = py.import("asyncio")?;
            let module = py.import("_asyncio")?;
            let tasks = module.getattr_opt("_current_tasks")?.and_then(|tasks| tasks.cast_into().ok());
            Ok(Self {
                future: module.getattr("Future")?.unbind(),
                task: module.getattr("Task")?.unbind(),
                running_loop: module.getattr("_get_running_loop")?.unbind(),
                current_task: asyncio.getattr("current_task")?.unbind(),
                tasks: tasks.map(Bound::unbind),
                context: py.import("contextvars")?.getattr("Context")?.unbind(),
                loop_of: PyString::intern(py, "_loop").unbind(),
                thread_of: PyString::intern(py, "_thread_id").unbind(),
                cancelling: PyString::intern(py, "cancelling").unbind(),
                monotonic: Self::genuine_clock(py)?,
                time: py.import("time")?.dict().unbind(),
                monotonic_name: PyString::intern(py, "monotonic").unbind(),
            })
        })
    }

    /// `time.monotonic`, if it is the interpreter's own and reads the clock that we read.
    fn genuine_clock(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let time = py.import("time")?;
        let monotonic = time.getattr("monotonic")?;
        let is_genuine = monotonic.getattr_opt("__self__")?.is_some_and(|owner| owner.is(&time));
        let clock = time.call_method1("get_clock_info", ("monotonic",))?.getattr("implementation")?;
        let is_ours = cfg!(unix) && clock.eq("clock_gettime(CLOCK_MONOTONIC)")?;
        Ok((is_genuine && is_ours).then(|| monotonic.unbind()))
    }

    /// Whether a loop whose time is `time.monotonic()` can be asked by reading the clock: nobody has put another function there, as
    /// tests do.
    pub fn clock_is_genuine(&self, py: Python<'_>) -> bool {
        let now = self.time.bind(py).get_item(&self.monotonic_name);
        matches!((now, &self.monotonic), (Ok(Some(now)), Some(genuine)) if now.is(genuine))
    }

    /// The running loop and its current task, by the shortest way that is sure.
    pub fn running<'py>(&self, py: Python<'py>, yielded: Object) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        if let Some(tasks) = &self.tasks {
            let tasks = tasks.bind(py);
            if let Some(running) = self.loop_of_future(py, yielded)?
                && self.is_mine(&running)?
            {
                let task = tasks.get_item(&running)?.ok_or_else(|| no_task(py))?;
                return Ok((running, task));
            }
            if let Some(found) = self.only_one(tasks)? {
                return Ok(found);
            }
        }
        let running = self.running_loop.bind(py).call0()?;
        let task = if running.is_none() { running.clone() } else { self.current_task.bind(py).call1((&running,))? };
        if task.is_none() { Err(no_task(py)) } else { Ok((running, task)) }
    }

    /// Whether what runs in this thread just now is an asyncio task.
    fn runs_task(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(tasks) = &self.tasks
            && self.only_one(tasks.bind(py))?.is_some()
        {
            return Ok(true);
        }
        let running = self.running_loop.bind(py).call0()?;
        Ok(!running.is_none() && !self.current_task.bind(py).call1((running,))?.is_none())
    }

    /// The loop of a future that was yielded: the running one, or the task would refuse the future.
    fn loop_of_future<'py>(&self, py: Python<'py>, yielded: Object) -> PyResult<Option<Bound<'py, PyAny>>> {
        // SAFETY: `yielded` is a live object.
        let (class, yielded) = unsafe { (ffi::Py_TYPE(yielded).cast(), Borrowed::from_ptr(py, yielded)) };
        let is_future = class == self.future.as_ptr() || class == self.task.as_ptr();
        if is_future { yielded.getattr(&self.loop_of).map(Some) } else { Ok(None) }
    }

    /// The one loop that is running a task just now, if it is this thread's. Asking asyncio itself takes a system call on 3.11:
    /// it looks whether the process has forked.
    fn only_one<'py>(&self, tasks: &Bound<'py, PyDict>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        if tasks.len() != 1 {
            return Ok(None);
        }
        let Some((running, task)) = tasks.iter().next() else { return Ok(None) };
        Ok(self.is_mine(&running)?.then_some((running, task)))
    }

    /// Whether a loop is running in this thread. A future may be yielded that belongs to another one: the task will refuse it, but
    /// only after us, and that loop's task is not ours to cancel.
    fn is_mine(&self, running: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(thread) = running.getattr_opt(&self.thread_of)? else { return Ok(false) };
        // SAFETY: no more than a question to the system, and a conversion of a live object; None, of a loop that stands still, is no
        // number, and the complaint about that is dropped.
        unsafe {
            let thread = ffi::PyLong_AsUnsignedLong(thread.as_ptr());
            if !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                return Ok(false);
            }
            Ok(thread == ffi::PyThread_get_thread_ident())
        }
    }

    /// How often the task has been asked to cancel and has not uncancelled.
    pub fn cancelling(&self, task: &Bound<'_, PyAny>) -> PyResult<i64> {
        task.call_method0(&self.cancelling)?.extract()
    }

    /// A context without variables.
    pub fn empty_context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.context.bind(py).call0()
    }
}

/// Whether what runs in this thread just now is an asyncio task. False where asyncio was never imported, without importing it.
pub fn runs_task(py: Python<'_>) -> bool {
    let modules = known().modules.bind(py);
    modules.contains(&known().names.asyncio).is_ok_and(|is_there| is_there)
        && Asyncio::get(py).and_then(|asyncio| asyncio.runs_task(py)).is_ok_and(|runs| runs)
}

#[cold]
fn no_task(py: Python<'_>) -> PyErr {
    unprotected(py, "a call with a timeout suspended outside an asyncio task; run it inside one, or configure timeout=None")
}
